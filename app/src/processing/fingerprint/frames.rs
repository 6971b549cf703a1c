//! What a frame says for grouping: its place and its function, freed of what changes from build to build.

use std::borrow::Cow;

use crate::domain::Frame;

/// Functions that compilers and interpreters make; they come and go with versions.
const GENERATED: [&str; 12] = [
    "<listcomp>",
    "<genexpr>",
    "<dictcomp>",
    "<setcomp>",
    "__webpack_require__",
    "call_once",
    "call_mut",
    "__rust_begin_short_backtrace",
    "rust_begin_unwind",
    "invokeSuspend",
    "resumeWith",
    "NativeMethodAccessorImpl",
];

/// Directories below which every deployment has a name of its own.
const ROOTS: [&str; 8] = [
    "/releases/",
    "/home/",
    "/Users/",
    "/var/www/",
    "/usr/src/",
    "/srv/",
    "/opt/",
    "/tmp/",
];

/// Directories of libraries: what comes after is the library's own path.
const LIBRARIES: [&str; 6] = [
    "/site-packages/",
    "/dist-packages/",
    "/node_modules/",
    "/gems/",
    "/pkg/mod/",
    "/registry/src/",
];

/// How many parts of an absolute path are kept, from its end.
const PATH_PARTS_MAX: usize = 3;

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    /// The module, or else the file.
    pub(super) place: String,
    /// The function; `None` if it has no name of its own.
    pub(super) function: Option<String>,
    /// The source line, for a function without a name.
    pub(super) line: Option<String>,
}

/// What a frame is to grouping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A call of a function with a name.
    Named(Signature),
    /// A call of a function without one.
    Anonymous(Signature),
    /// Made by a compiler.
    Generated,
    /// Says nothing.
    Empty,
}

/// What a frame is to grouping.
pub(super) fn role(frame: &Frame, platform: &str) -> Role {
    let platform = frame.platform.as_deref().unwrap_or(platform);
    let given = frame.function.as_deref().unwrap_or_default();
    let place = place(frame);
    let last = given.rsplit(['.', ':']).next();
    if GENERATED
        .iter()
        .any(|name| given == *name || last == Some(name))
        || is_generated_class(&place)
    {
        return Role::Generated;
    }
    match function(given, platform) {
        Some(name) => Role::Named(Signature {
            place,
            function: Some(name),
            line: None,
        }),
        None if place.is_empty() => Role::Empty,
        None => {
            let line = frame
                .context_line
                .as_deref()
                .map(str::trim)
                .filter(|line| !line.is_empty() && line.len() <= 120);
            Role::Anonymous(Signature {
                place,
                function: None,
                line: line.map(str::to_owned),
            })
        }
    }
}

fn is_generated_class(place: &str) -> bool {
    const MARKS: [&str; 5] = [
        "$Proxy",
        "$$EnhancerBy",
        "$$FastClassBy",
        "GeneratedMethodAccessor",
        "GeneratedConstructorAccessor",
    ];
    // Nearly every place has neither of the letters that a mark begins with.
    place.contains(['$', 'G']) && MARKS.iter().any(|mark| place.contains(mark))
}

/// The name of a function without addresses, counters of closures and wrappings; `None` if it has none.
fn function(given: &str, platform: &str) -> Option<String> {
    let mut name = given.trim();
    // Most names are a plain word: nothing of what follows would be found in one.
    if !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return (!matches!(name, "anonymous" | "eval" | "lambda")).then(|| name.to_owned());
    }
    for prefix in [
        "async ",
        "block in ",
        "rescue in ",
        "ensure in ",
        "Object.",
        "Module.",
        "window.",
    ] {
        name = name.strip_prefix(prefix).unwrap_or(name);
    }
    if let Some((levels, inner)) = name.split_once(") in ")
        && levels.starts_with("block (")
    {
        name = inner;
    }
    name = name.split(" [as ").next().unwrap_or(name);
    // Rust: the hash at the end, then closures.
    if let Some((path, hash)) = name.rsplit_once("::h")
        && hash.len() == 16
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        name = path;
    }
    while let Some((path, _)) = name
        .rsplit_once("::{{closure}}")
        .or_else(|| name.rsplit_once("::{closure"))
    {
        if path.is_empty() || platform == "php" {
            break;
        }
        name = path;
    }
    if platform == "go" {
        name = go_function(name);
    }
    if let Some(inner) = state_machine(name) {
        name = inner;
    }
    if matches!(platform, "native" | "c" | "cocoa") {
        name = name.split('(').next().unwrap_or(name).trim();
    }
    let is_anonymous = name.is_empty()
        || name.ends_with("<anonymous>")
        || name.contains("{closure")
        || matches!(
            name,
            "?" | "<lambda>"
                | "anonymous"
                | "(anonymous)"
                | "(anonymous function)"
                | "<unknown>"
                | "eval"
                | "lambda"
        );
    (!is_anonymous).then(|| without_counters(name).into_owned())
}

/// `handle.func1.2` and `handle-fm` → `handle`.
fn go_function(name: &str) -> &str {
    let mut name = name.strip_suffix("-fm").unwrap_or(name);
    while let Some((outer, last)) = name.rsplit_once('.') {
        let number = last.strip_prefix("func").unwrap_or(last);
        let is_counter = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if !(is_counter || last.starts_with("gowrap")) || outer.is_empty() {
            break;
        }
        name = outer;
    }
    name
}

/// The method inside the names C# gives to async methods and lambdas: `<Total>d__12.MoveNext`, `<>c.<Total>b__0`.
fn state_machine(name: &str) -> Option<&str> {
    let marked = name
        .find(">d__")
        .or_else(|| name.find(">b__"))
        .or_else(|| name.find(">g__"))?;
    let start = name[..marked].rfind('<')? + 1;
    (start < marked).then(|| &name[start..marked])
}

/// `lambda$total$0` → `lambda$total$`: numbers after a dollar sign count what a compiler made.
fn without_counters(name: &str) -> Cow<'_, str> {
    if !name.contains('$') {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len());
    for (index, part) in name.split('$').enumerate() {
        if index > 0 {
            out.push('$');
            out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
        } else {
            out.push_str(part);
        }
    }
    Cow::Owned(out)
}

/// The module, unless it says less than the file; or else the file.
fn place(frame: &Frame) -> String {
    let module = frame
        .module
        .as_deref()
        .filter(|module| !matches!(*module, "__main__" | "<unknown module>" | "main" | "?"));
    if let Some(module) = module {
        return without_counters(&without_hashes(module)).into_owned();
    }
    let file = frame
        .filename
        .as_deref()
        .or(frame.abs_path.as_deref())
        .or(frame.package.as_deref());
    match file {
        Some("<anonymous>" | "<string>" | "<stdin>" | "[native code]") | None => {
            frame.module.clone().unwrap_or_default()
        }
        Some(file) => path(file),
    }
}

/// A path without scheme, host, query, drive, root of the deployment, versions and hashes.
fn path(given: &str) -> String {
    let given = given.replace('\\', "/");
    let mut file = given.split(['?', '#']).next().unwrap_or_default();
    let mut is_absolute = false;
    if let Some((scheme, rest)) = file.split_once("://") {
        // `webpack:///./src/x.js` has no host, `https://cdn.example.com/x.js` has.
        let has_host = matches!(scheme, "http" | "https");
        file = if has_host {
            rest.split_once('/').map_or("", |(_, path)| path)
        } else {
            rest.trim_start_matches('/')
        };
    } else if let Some(rest) = file.strip_prefix('/') {
        is_absolute = true;
        file = rest;
    } else if file.as_bytes().get(1) == Some(&b':') {
        is_absolute = true;
        file = file[2..].trim_start_matches('/');
    }
    let rooted = format!("/{}", file.trim_start_matches("./"));
    let mut rest = rooted.as_str();
    if let Some(end) = LIBRARIES
        .iter()
        .filter_map(|mark| Some(rest.rfind(mark)? + mark.len()))
        .max()
    {
        rest = &rest[end..];
        is_absolute = false;
    } else if is_absolute {
        for root in ROOTS {
            if let Some(at) = rest.find(root) {
                // The directory below a root names the user, the site or the release.
                let below = &rest[at + root.len()..];
                rest = below.split_once('/').map_or(rest, |(_, inside)| inside);
            }
        }
    }
    let parts: Vec<&str> = rest
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let first = if is_absolute {
        parts.len().saturating_sub(PATH_PARTS_MAX)
    } else {
        0
    };
    let parts: Vec<Cow<'_, str>> = parts[first..]
        .iter()
        .map(|part| without_version(part))
        .collect();
    parts.join("/")
}

/// A directory or file without its version or hash: `rails-7.0.1` → `rails`, `main.8f3a9c21.js` → `main.<hash>.js`.
fn without_version(part: &str) -> Cow<'_, str> {
    if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed("<int>");
    }
    if let Some((name, version)) = part.rsplit_once('@').or_else(|| part.rsplit_once('-'))
        && !name.is_empty()
        && version.trim_start_matches('v').split('.').count() >= 2
        && version
            .trim_start_matches('v')
            .starts_with(|c: char| c.is_ascii_digit())
        && version
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+'))
        && !["js", "rb", "py", "php", "ts", "mjs", "cjs"]
            .iter()
            .any(|ending| version.ends_with(ending))
    {
        return Cow::Owned(name.to_owned());
    }
    without_hashes(part)
}

/// Replaces parts that are hashes of a build: at least 6 characters, of hex with a digit, or 8 of letters and digits in a bundle's name.
fn without_hashes(text: &str) -> Cow<'_, str> {
    let is_script = [".js", ".mjs", ".cjs", ".css"]
        .iter()
        .any(|ending| text.ends_with(ending));
    let is_hash = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        let is_hex = part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_mixed = is_script
            && part.len() >= 8
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && part.bytes().any(|byte| byte.is_ascii_uppercase());
        (is_hex && part.len() >= 6 && digits > 0) || (is_mixed && digits > 0)
    };
    let separators = ['.', '-', '_', '/', ':'];
    if !text.split(separators).any(is_hash) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for part in text.split_inclusive(separators) {
        let body = part.trim_end_matches(separators);
        out.push_str(if is_hash(body) { "<hash>" } else { body });
        out.push_str(&part[body.len()..]);
    }
    Cow::Owned(out)
}

/// The longest cycle of calls that is seen as recursion, in frames.
const CYCLE_MAX: usize = 8;

/// Folds recursion: `a b a b a b` becomes `a b`. The indexes of what is kept.
pub(super) fn fold<T: PartialEq>(frames: &[T]) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::with_capacity(frames.len());
    for index in 0..frames.len() {
        kept.push(index);
        for cycle in 1..=CYCLE_MAX.min(kept.len() / 2) {
            let (before, last) = kept[kept.len() - 2 * cycle..].split_at(cycle);
            if before
                .iter()
                .zip(last)
                .all(|(a, b)| frames[*a] == frames[*b])
            {
                kept.truncate(kept.len() - cycle);
                break;
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::{Role, fold, function, path, role};
    use crate::domain::Frame;
    use proptest::prelude::{prop_assert_eq, proptest};

    #[test]
    fn functions_lose_what_compilers_add() {
        for (given, platform, expected) in [
            ("total", "python", Some("total")),
            ("<lambda>", "python", None),
            ("Object.<anonymous>", "node", None),
            ("async Cart.total [as sum]", "node", Some("Cart.total")),
            (
                "shop::total::{{closure}}::h0123456789abcdef",
                "rust",
                Some("shop::total"),
            ),
            ("(*Server).handle.func1.2", "go", Some("(*Server).handle")),
            ("func1", "go", Some("func1")),
            ("lambda$total$0", "java", Some("lambda$total$")),
            ("<Total>d__12.MoveNext", "csharp", Some("Total")),
            ("<>c__DisplayClass4_0.<Total>b__0", "csharp", Some("Total")),
            ("block (2 levels) in total", "ruby", Some("total")),
            ("App\\Cart::{closure}", "php", None),
            ("total(int, char const*)", "native", Some("total")),
            ("", "other", None),
        ] {
            assert_eq!(function(given, platform).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn paths_lose_what_deployments_add() {
        for (given, expected) in [
            ("shop/cart.py", "shop/cart.py"),
            (
                "/var/www/shop/releases/20240501120000/app/models/cart.rb",
                "app/models/cart.rb",
            ),
            ("/srv/other/app/models/cart.rb", "app/models/cart.rb"),
            ("C:\\Users\\jane\\shop\\Cart.cs", "shop/Cart.cs"),
            (
                "https://cdn.example.com/static/js/main.8f3a9c21.js?v=2",
                "static/js/main.<hash>.js",
            ),
            ("webpack:///./src/cart.js", "src/cart.js"),
            ("app:///assets/index-DfK3x9Qa.js", "assets/index-<hash>.js"),
            (
                "/x/node_modules/express/lib/router.js",
                "express/lib/router.js",
            ),
            (
                "/usr/lib/ruby/gems/3.2.0/gems/rails-7.0.1/lib/x.rb",
                "rails/lib/x.rb",
            ),
            (
                "/root/go/pkg/mod/github.com/x/y@v1.2.3/z.go",
                "github.com/x/y/z.go",
            ),
            (
                "/home/u/.cargo/registry/src/index.example.com-6f17d22bba15001f/serde-1.0.1/src/lib.rs",
                "index.example.com-<hash>/serde/src/lib.rs",
            ),
        ] {
            assert_eq!(path(given), expected, "{given}");
        }
    }

    #[test]
    fn roles_tell_generated_from_anonymous() {
        let frame = |function: &str, file: Option<&str>| Frame {
            function: Some(function.to_owned()),
            filename: file.map(str::to_owned),
            ..Frame::default()
        };
        assert_eq!(
            role(&frame("<listcomp>", Some("a.py")), "python"),
            Role::Generated
        );
        assert!(matches!(
            role(&frame("<lambda>", Some("a.py")), "python"),
            Role::Anonymous(_)
        ));
        assert!(matches!(role(&frame("f", None), "python"), Role::Named(_)));
        assert_eq!(role(&frame("", None), "python"), Role::Empty);
    }

    #[test]
    fn recursion_is_folded_whatever_its_depth() {
        let folded = |text: &str| {
            let frames: Vec<char> = text.chars().collect();
            fold(&frames)
                .into_iter()
                .map(|index| frames[index])
                .collect::<String>()
        };
        assert_eq!(folded("maaaab"), "mab");
        assert_eq!(folded("mabababx"), "mabx");
        assert_eq!(folded("mabcabcabcx"), folded("mabcabcx"));
        assert_eq!(folded("abcd"), "abcd");
    }

    proptest! {
        #[test]
        fn depth_of_recursion_does_not_matter(cycle in "[a-e]{1,4}", few in 1..5_usize, many in 5..20_usize) {
            let folded = |times: usize| {
                let frames: Vec<char> = format!("m{}z", cycle.repeat(times)).chars().collect();
                fold(&frames).into_iter().map(|index| frames[index]).collect::<String>()
            };
            prop_assert_eq!(folded(few + 1), folded(many));
        }

        #[test]
        fn any_name_is_read_without_panic(name in ".{0,40}|(<|>|::|\\{closure|\\.func1|\\$|1|d__|h0123456789abcdef| \\[as |é){0,8}", file in ".{0,40}|(/|[.]|releases|:|gems|@|v1|-|é){0,10}") {
            for platform in ["go", "php", "native", "rust"] {
                let _ = function(&name, platform);
            }
            let _ = path(&file);
        }
    }
}
