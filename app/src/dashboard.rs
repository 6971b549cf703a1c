//! The dashboard's built files, embedded in the binary and served with their headers.
//!
//! The files come from `app/dashboard/dist`, which is committed (decision 0002), so that building the server needs no
//! Node. A path without an extension that names no file is an address of the dashboard itself and gets `index.html`; a
//! path with an extension that names no file is not found. Files under `/assets/` carry a hash of their content in
//! their name and may be kept for ever; everything else must be asked for again, which an `ETag` makes cheap.

use rust_embed::{EmbeddedFile, RustEmbed};
use warp::filters::path::FullPath;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use warp::http::{Method, StatusCode};
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

/// What the pages may load: only what this server itself serves; no inline script or style, no frame around them.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

const KEEP_FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

#[derive(RustEmbed)]
#[folder = "dashboard/dist"]
struct Assets;

/// The filter that answers GET and HEAD with the dashboard's files; it rejects as not found every other method, every
/// path under `/api`, and every path with an extension that names no file. It takes whatever is left, so it stands
/// last among the routes.
#[must_use]
pub fn routes() -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone {
    warp::method()
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and_then(
            |method: Method, path: FullPath, headers: HeaderMap| async move {
                answer(&method, path.as_str(), &headers).ok_or_else(warp::reject::not_found)
            },
        )
}

/// Whether GET on `path` gets a page or a file.
#[must_use]
pub fn answers(path: &str) -> bool {
    find(path).is_some()
}

/// The response to `method` on `path`, or nothing when the dashboard has none.
fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
    if method != Method::GET && method != Method::HEAD {
        return None;
    }
    let (name, file) = find(path)?;
    let tag = entity_tag(&file);
    let mut response = if is_known(headers, &tag) {
        let mut unchanged = Response::default();
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged
    } else {
        let len = file.data.len();
        let body = if method == Method::HEAD {
            Vec::new()
        } else {
            file.data.into_owned()
        };
        let mut found = body.into_response();
        found
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(len));
        found
            .headers_mut()
            .insert(CONTENT_TYPE, content_type(file.metadata.mimetype()));
        found
    };
    let out = response.headers_mut();
    out.insert(ETAG, tag);
    let cache = if name.starts_with("assets/") {
        KEEP_FOR_EVER
    } else {
        ASK_AGAIN
    };
    out.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    out.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_POLICY),
    );
    out.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    out.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // The set-up link carries a token; it must not travel on to other sites.
    out.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    out.insert(
        "cross-origin-opener-policy",
        HeaderValue::from_static("same-origin"),
    );
    Some(response)
}

/// The file that `path` names, or the dashboard's page for one of its own addresses.
fn find(path: &str) -> Option<(&str, EmbeddedFile)> {
    let name = path.trim_start_matches('/');
    if name == "api" || name.starts_with("api/") {
        return None;
    }
    if let Some(file) = Assets::get(name) {
        return Some((name, file));
    }
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains('.') || name.starts_with("assets/") {
        return None;
    }
    Assets::get("index.html").map(|file| ("index.html", file))
}

/// A strong tag: the first half of the content's SHA-256.
fn entity_tag(file: &EmbeddedFile) -> HeaderValue {
    let hash = file.metadata.sha256_hash();
    let digits: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    HeaderValue::from_str(&format!("\"{digits}\""))
        .expect("hexadecimal digits in quotes are a valid header value")
}

/// Whether the client says that it holds the content `tag` names (RFC 9110, section 13.1.2: compared weakly).
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|candidate| candidate.trim().trim_start_matches("W/"))
        .any(|candidate| candidate == "*" || candidate.as_bytes() == tag.as_bytes())
}

/// `mime` as a header, with the charset that all our text has.
fn content_type(mime: &str) -> HeaderValue {
    let text =
        mime.starts_with("text/") || mime == "application/javascript" || mime == "image/svg+xml";
    let value = if text {
        format!("{mime}; charset=utf-8")
    } else {
        mime.to_owned()
    };
    HeaderValue::from_str(&value).expect("the embedded table of types holds plain ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp::hyper::body::Body as _;

    fn request(method: Method, path: &str, headers: &HeaderMap) -> Option<Response> {
        answer(&method, path, headers)
    }

    fn get(path: &str) -> Response {
        request(Method::GET, path, &HeaderMap::new()).unwrap_or_else(|| panic!("{path} is ours"))
    }

    fn header<'a>(response: &'a Response, name: &str) -> &'a str {
        response
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn asset(extension: &str) -> String {
        let name =
            Assets::iter().find(|name| name.starts_with("assets/") && name.ends_with(extension));
        format!("/{}", name.expect("the committed build has assets"))
    }

    #[test]
    fn the_page_is_a_real_build_and_answers_every_address_of_its_own() {
        let page = Assets::get("index.html").expect("the committed build has a page");
        assert!(String::from_utf8_lossy(&page.data).contains("/assets/index-"));
        for path in [
            "/",
            "/index.html",
            "/setup",
            "/projects/default/issues",
            "/login",
        ] {
            let response = get(path);
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(
                header(&response, "content-type"),
                "text/html; charset=utf-8",
                "{path}"
            );
            assert_eq!(header(&response, "cache-control"), ASK_AGAIN, "{path}");
            assert!(header(&response, "content-security-policy").contains("script-src 'self';"));
            assert_eq!(
                response.body().size_hint().exact(),
                Some(page.data.len() as u64),
                "{path}"
            );
        }
    }

    #[test]
    fn assets_have_their_type_and_may_be_kept_for_ever() {
        let types = [
            (".js", "text/javascript; charset=utf-8"),
            (".css", "text/css; charset=utf-8"),
        ];
        for (extension, mime) in types {
            let response = get(&asset(extension));
            assert_eq!(header(&response, "content-type"), mime);
            assert_eq!(header(&response, "cache-control"), KEEP_FOR_EVER);
            assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        }
    }

    #[test]
    fn a_known_tag_is_answered_without_the_content() {
        let path = asset(".css");
        let tag = header(&get(&path), "etag").to_owned();
        for (known, status) in [
            (format!("\"other\", W/{tag}"), 304),
            ("\"other\"".to_owned(), 200),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, known.parse().unwrap());
            let response = request(Method::GET, &path, &headers).unwrap();
            assert_eq!(response.status(), status, "{known}");
            assert_eq!(
                response.body().size_hint().exact() == Some(0),
                status == 304,
                "{known}"
            );
            assert_eq!(header(&response, "etag"), tag);
        }
    }

    #[test]
    fn head_tells_the_length_and_sends_nothing() {
        let response = request(Method::HEAD, "/", &HeaderMap::new()).unwrap();
        assert_eq!(response.body().size_hint().exact(), Some(0));
        assert_eq!(
            header(&response, "content-length"),
            header(&get("/"), "content-length")
        );
        assert_ne!(header(&response, "content-length"), "0");
    }

    #[test]
    fn what_is_not_the_dashboards_is_not_found() {
        for path in [
            "/api",
            "/api/v1/nothing",
            "/missing.js",
            "/assets/missing",
            "/../Cargo.toml",
            "/.env",
        ] {
            assert!(
                request(Method::GET, path, &HeaderMap::new()).is_none(),
                "{path}"
            );
        }
        assert!(request(Method::POST, "/", &HeaderMap::new()).is_none());
    }
}
