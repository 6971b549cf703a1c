//! Exceptions, stack traces and frames, as they stand after normalisation.

use serde::{Deserialize, Serialize};

/// One exception of a chain. Of a chain, the last is the one that was shown to the user. `S` is how its stack is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "S: Deserialize<'de>"))]
pub struct Exception<S = Stacktrace> {
    /// Its class; `captureMessage` of the Node SDK sends none.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its text.
    pub value: Option<String>,
    /// The module the class lives in.
    pub module: Option<String>,
    /// How it was caught.
    pub mechanism: Option<Mechanism>,
    /// Where it was raised.
    pub stacktrace: Option<S>,
}

impl<S> Default for Exception<S> {
    fn default() -> Self {
        Self {
            kind: None,
            value: None,
            module: None,
            mechanism: None,
            stacktrace: None,
        }
    }
}

impl<S> Exception<S> {
    /// Whether the SDK made its type up, so that it says nothing.
    #[must_use]
    pub fn is_synthetic(&self) -> bool {
        let mechanism = self.mechanism.as_ref();
        mechanism.and_then(|mechanism| mechanism.synthetic) == Some(true)
    }
}

/// How an exception was caught.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mechanism {
    /// The integration that caught it.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Whether the program caught it itself.
    pub handled: Option<bool>,
    /// Whether the type is made up by the SDK and says nothing (`captureMessage`, signals).
    pub synthetic: Option<bool>,
}

/// The frames of one stack, outermost first: the last is where it happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stacktrace {
    /// Outermost first.
    pub frames: Vec<Frame>,
}

/// One function call of a stack: the part of it that grouping and titles need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Frame {
    /// The function, as the SDK shows it.
    pub function: Option<String>,
    /// The module, package or class the function lives in.
    pub module: Option<String>,
    /// The file, relative to the program.
    pub filename: Option<String>,
    /// The file, absolute or a URL.
    pub abs_path: Option<String>,
    /// The library or image.
    pub package: Option<String>,
    /// The platform, where it differs from the event's.
    pub platform: Option<String>,
    /// The source line.
    pub context_line: Option<String>,
    /// The line number.
    pub lineno: Option<u64>,
    /// Whether the frame is the program's own code rather than a library's; `None` if the SDK did not say.
    pub in_app: Option<bool>,
}

impl Frame {
    /// Whether the frame is the program's own code: what the SDK said, and where it said nothing, not when the path is a library's.
    #[must_use]
    pub fn is_in_app(&self) -> bool {
        match self.in_app {
            Some(claim) => claim,
            None => !self.looks_like_a_library(),
        }
    }

    fn looks_like_a_library(&self) -> bool {
        const LIBRARY_PATHS: [&str; 12] = [
            "/site-packages/",
            "/dist-packages/",
            "/node_modules/",
            "/gems/",
            "/vendor/",
            "/.cargo/registry/",
            "/rustc/",
            "/pkg/mod/",
            "/usr/lib/",
            "/usr/local/lib/",
            "/usr/local/go/",
            "/opt/go/",
        ];
        const LIBRARY_PREFIXES: [&str; 9] = [
            "node:",
            "internal/",
            "node_modules/",
            "vendor/",
            "webpack/runtime",
            "native ",
            "<frozen ",
            "[native code]",
            "<anonymous>",
        ];
        const LIBRARY_MODULES: [&str; 16] = [
            "java.",
            "javax.",
            "jdk.",
            "sun.",
            "com.sun.",
            "kotlin.",
            "kotlinx.",
            "scala.",
            "android.",
            "androidx.",
            "org.springframework.",
            "System.",
            "Microsoft.",
            "runtime",
            "std::",
            "core::",
        ];
        let is_library_path = |path: &str| {
            let path = path.replace('\\', "/");
            LIBRARY_PATHS.iter().any(|part| path.contains(part))
                || LIBRARY_PREFIXES
                    .iter()
                    .any(|prefix| path.starts_with(prefix))
        };
        self.filename.as_deref().is_some_and(is_library_path)
            || self.abs_path.as_deref().is_some_and(is_library_path)
            || self.module.as_deref().is_some_and(|module| {
                LIBRARY_MODULES.iter().any(|prefix| {
                    module.starts_with(prefix) && (!prefix.eq(&"runtime") || module == "runtime")
                })
            })
    }
}
