//! Stack traces as programs print them → frames, outermost first.
//!
//! Python, JavaScript, Java and its kin, C#, Ruby, PHP, Go and Rust; a line that is no frame is skipped.

use serde_json::{Value, json};

/// The frames of a printed stack, outermost first; `None` if no line is a frame.
pub(super) fn parse(printed: &str) -> Option<Vec<Value>> {
    let lines: Vec<&str> = printed.lines().map(str::trim).collect();
    let mut frames: Vec<Value> = Vec::new();
    let mut is_python = false;
    for (index, line) in lines.iter().enumerate() {
        let next = lines.get(index + 1).copied().unwrap_or_default();
        if let Some(frame) = python(line) {
            is_python = true;
            frames.push(frame);
        } else if let Some(frame) = at(line).or_else(|| php(line)).or_else(|| ruby(line)) {
            frames.push(frame);
        } else if let Some(frame) = numbered(line, next).or_else(|| go(line, next)) {
            frames.push(frame);
        }
    }
    // Python prints the outermost call first, all others the innermost.
    if !is_python {
        frames.reverse();
    }
    (!frames.is_empty()).then_some(frames)
}

fn frame(function: &str, filename: Option<&str>, line: Option<&str>) -> Value {
    let mut frame = json!({ "function": function });
    if let Some(filename) = filename {
        frame["filename"] = filename.into();
    }
    if let Some(number) = line.and_then(|line| line.parse::<u64>().ok()) {
        frame["lineno"] = number.into();
    }
    frame
}

/// `file:LINE` or `file:LINE:COLUMN`.
fn place(text: &str) -> Option<(&str, &str)> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, last) = text.rsplit_once(':').filter(|(_, last)| is_number(last))?;
    match before.rsplit_once(':') {
        Some((file, line)) if is_number(line) => Some((file, line)),
        _ => Some((before, last)),
    }
}

/// `File "shop/cart.py", line 12, in total`
fn python(line: &str) -> Option<Value> {
    let (file, rest) = line.strip_prefix("File \"")?.split_once("\", line ")?;
    let (number, function) = rest.split_once(", in ").unwrap_or((rest, "<module>"));
    Some(frame(function, Some(file), Some(number)))
}

/// `at total (cart.js:12:3)`, `at cart.js:12:3`, `at shop.Cart.total(Cart.java:12)`, `at Shop.Cart.Total(Int32 x) in /src/Cart.cs:line 12`
fn at(line: &str) -> Option<Value> {
    let rest = line.strip_prefix("at ")?;
    if let Some((call, path)) = rest.split_once(" in ")
        && let Some((file, number)) = path.split_once(":line ")
    {
        return Some(qualified(call.split('(').next()?, Some(file), Some(number)));
    }
    let Some((call, source)) = rest
        .strip_suffix(')')
        .and_then(|rest| rest.rsplit_once('('))
    else {
        return place(rest).map(|(file, number)| frame("<anonymous>", Some(file), Some(number)));
    };
    let call = call.trim();
    match place(source) {
        Some((file, number))
            if source.contains(".java:")
                || source.contains(".kt:")
                || source.contains(".scala:") =>
        {
            Some(qualified(call, Some(file), Some(number)))
        }
        Some((file, number)) => Some(frame(call, Some(file), Some(number))),
        None if matches!(source, "Native Method" | "Unknown Source") => {
            Some(qualified(call, None, None))
        }
        None if source.is_empty() || source == "<anonymous>" || source == "native" => {
            Some(frame(call, None, None))
        }
        None => Some(qualified(call, None, None)),
    }
}

/// Splits `shop.Cart.total` into module and function.
fn qualified(call: &str, filename: Option<&str>, line: Option<&str>) -> Value {
    let (module, function) = call.rsplit_once('.').unwrap_or(("", call));
    let mut frame = frame(function, filename, line);
    if !module.is_empty() {
        frame["module"] = module.into();
    }
    frame
}

/// `#0 /srv/shop/cart.php(12): Cart->total()`
fn php(line: &str) -> Option<Value> {
    let (number, rest) = line.strip_prefix('#')?.split_once(' ')?;
    number.parse::<u32>().ok()?;
    let (place, call) = rest.split_once("): ")?;
    let (file, line) = place.rsplit_once('(')?;
    Some(frame(call.split('(').next()?, Some(file), Some(line)))
}

/// ``cart.rb:12:in `total'``
fn ruby(line: &str) -> Option<Value> {
    let (before, function) = line.trim_start_matches("from ").split_once(":in ")?;
    let (file, number) = place(before)?;
    Some(frame(
        function.trim_matches(['`', '\'']),
        Some(file),
        Some(number),
    ))
}

/// `  4: shop::cart::total` with `at src/cart.rs:12:5` on the next line, as Rust prints it.
fn numbered(line: &str, next: &str) -> Option<Value> {
    let (number, function) = line.split_once(": ")?;
    number.parse::<u32>().ok()?;
    let function = match function.split_once(" - ") {
        Some((address, function)) if address.starts_with("0x") => function,
        _ => function,
    };
    let source = next.strip_prefix("at ").and_then(place);
    Some(frame(
        function,
        source.map(|(file, _)| file),
        source.map(|(_, line)| line),
    ))
}

/// `main.(*Cart).Total(0xc000)` with `/srv/shop/cart.go:12 +0x1d` on the next line.
fn go(line: &str, next: &str) -> Option<Value> {
    let source = next
        .split(' ')
        .next()
        .filter(|source| source.contains(".go:"))?;
    let (file, number) = place(source)?;
    let call = line.strip_prefix("created by ").unwrap_or(line);
    let call = call.split(" in goroutine").next()?;
    let call = call
        .strip_suffix(')')
        .and_then(|call| call.rsplit_once('('))
        .map_or(call, |(call, _)| call);
    let package_end = call.rfind('/').map_or(0, |slash| slash + 1);
    let dot = call[package_end..].find('.')? + package_end;
    let mut frame = frame(&call[dot + 1..], Some(file), Some(number));
    frame["module"] = call[..dot].into();
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use proptest::prelude::proptest;

    #[track_caller]
    fn innermost(printed: &str, function: &str, file: &str, count: usize) {
        let frames = parse(printed).unwrap();
        assert_eq!(frames.len(), count, "{frames:?}");
        let last = &frames[count - 1];
        assert_eq!(
            (last["function"].as_str(), last["filename"].as_str()),
            (Some(function), Some(file)),
            "{printed}"
        );
        assert_eq!(last["lineno"], 12);
    }

    #[test]
    fn every_language_prints_frames() {
        innermost(
            "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    x()\n  File \"shop/cart.py\", line 12, in total\n    y()\nKeyError: 'z'",
            "total",
            "shop/cart.py",
            2,
        );
        innermost(
            "TypeError: x\n    at total (/srv/cart.js:12:3)\n    at /srv/app.js:9:1\n    at node:internal/x:1:2",
            "total",
            "/srv/cart.js",
            3,
        );
        innermost(
            "java.lang.X: y\n\tat shop.Cart.total(Cart.java:12)\n\tat shop.Main.main(Main.java:1)\n\t... 3 more",
            "total",
            "Cart.java",
            2,
        );
        innermost(
            "   at Shop.Cart.Total(Int32 x) in /src/Cart.cs:line 12\n   at Shop.Main()",
            "Total",
            "/src/Cart.cs",
            2,
        );
        innermost(
            "cart.rb:12:in `total'\n\tfrom main.rb:1:in `<main>'",
            "total",
            "cart.rb",
            2,
        );
        innermost(
            "#0 /srv/cart.php(12): Cart->total()\n#1 {main}",
            "Cart->total",
            "/srv/cart.php",
            1,
        );
        innermost(
            "   0: shop::cart::total\n             at src/cart.rs:12:5\n   1: shop::main\n             at src/main.rs:3:5",
            "shop::cart::total",
            "src/cart.rs",
            4,
        );
        innermost(
            "goroutine 1 [running]:\nmain.(*Cart).Total(0xc0)\n\t/srv/cart.go:12 +0x1d\nmain.main()\n\t/srv/main.go:3 +0x20",
            "(*Cart).Total",
            "/srv/cart.go",
            2,
        );
        assert_eq!(parse("nothing of the kind"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(at |\\(|\\)|:|[0-9]|\n|File \"|\", line |, in |#|é|\\.go:| in ){0,20}") {
            let _ = parse(&text);
        }
    }
}
