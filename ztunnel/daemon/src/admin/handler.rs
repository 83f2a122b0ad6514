//! Answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value, json};

use crate::admin::profile::{self, ProfileError, Sampling};
use crate::admin::{Admin, Provider, lock};

/// What may be asked on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Everything, for those who may open the Unix socket.
    Admin,
    /// Everything that changes nothing: on the loopback interface of a `hostNetwork` pod, any process of the node
    /// can connect.
    AdminReadOnly,
    /// `/metrics`.
    Metrics,
    /// `/healthz/ready` and `/healthz/live`.
    Probes,
}

pub(super) async fn answer<B>(
    admin: &Admin,
    surface: Surface,
    request: &Request<B>,
) -> Response<Full<Bytes>> {
    if from_a_browser(surface, request) {
        return text(StatusCode::FORBIDDEN, "not for browsers\n");
    }
    let path = request.uri().path();
    let (is_admin, get) = (surface.is_admin(), request.method() == Method::GET);
    match (path, is_admin) {
        ("/healthz/live", _) if surface != Surface::Metrics => text(StatusCode::OK, "alive\n"),
        ("/healthz/ready", _) if surface != Surface::Metrics => ready(admin),
        ("/metrics" | "/stats/prometheus", _) if surface != Surface::Probes => metrics(admin),
        ("/", true) => text(StatusCode::OK, &index(admin)),
        ("/config_dump", true) if get => json_answer(&dump(admin).await),
        ("/logging", true) => logging(admin, surface, request),
        ("/quitquitquit", true) => quit(admin, surface, request.method()),
        (profile, true) if profile.starts_with(PROFILES) => profiles(surface, request).await,
        (_, true) if get => page(admin, path).await,
        _ => text(StatusCode::NOT_FOUND, "no such page\n"),
    }
}

impl Surface {
    const fn is_admin(self) -> bool {
        matches!(self, Self::Admin | Self::AdminReadOnly)
    }
}

/// Browsers send where a page came from, and can be led to a loopback address under a foreign name.
fn from_a_browser<B>(surface: Surface, request: &Request<B>) -> bool {
    if !surface.is_admin() {
        return false;
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let known = matches!(name, "" | "localhost" | "[::1]") || name.starts_with("127.");
    request.headers().contains_key(ORIGIN) || !known
}

fn ready(admin: &Admin) -> Response<Full<Bytes>> {
    let outstanding = admin.state.parts.readiness.outstanding();
    if outstanding.is_empty() {
        return text(StatusCode::OK, "ready\n");
    }
    text(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready, waiting for: {}\n", outstanding.join(", ")))
}

fn metrics(admin: &Admin) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, &admin.state.parts.metrics.render());
    let prometheus = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, prometheus);
    response
}

fn index(admin: &Admin) -> String {
    let mut index = String::from(INDEX);
    for name in lock(&admin.state.providers).keys() {
        index.push_str(&format!("GET  /config_dump/{name}\n"));
    }
    for name in lock(&admin.state.pages).keys() {
        index.push_str(&format!("GET  /{name}\n"));
    }
    index
}

async fn dump(admin: &Admin) -> Value {
    let providers: Vec<_> = lock(&admin.state.providers).clone().into_iter().collect();
    let mut parts = Map::new();
    for (name, provider) in providers {
        parts.insert(name, made(&provider).await);
    }
    Value::Object(parts)
}

async fn page(admin: &Admin, path: &str) -> Response<Full<Bytes>> {
    let provider = match path.strip_prefix("/config_dump/") {
        Some(name) => lock(&admin.state.providers).get(name).cloned(),
        None => lock(&admin.state.pages).get(path.trim_start_matches('/')).cloned(),
    };
    match provider {
        Some(provider) => json_answer(&made(&provider).await),
        None => text(StatusCode::NOT_FOUND, "no such page\n"),
    }
}

/// What a provider hands out, if it does in time: a worker that hangs must not take the whole page with it.
async fn made(provider: &Arc<Provider>) -> Value {
    let made = tokio::time::timeout(PROVIDER_TIMEOUT, provider()).await;
    made.unwrap_or_else(|_| json!({ "error": "no answer in time" }))
}

fn logging<B>(admin: &Admin, surface: Surface, request: &Request<B>) -> Response<Full<Bytes>> {
    let Some(level) = &admin.state.parts.level else {
        return text(StatusCode::NOT_FOUND, "logs are not ours\n");
    };
    if request.method() == Method::POST {
        if surface != Surface::Admin {
            return text(StatusCode::FORBIDDEN, ONLY_UNIX);
        }
        let query = request.uri().query().unwrap_or_default();
        let done = match (query, query.strip_prefix("level=")) {
            ("reset", _) => level.reset(),
            (_, Some(wanted)) => level.set(&unescape(wanted)),
            _ => return text(StatusCode::BAD_REQUEST, "want ?level=LEVEL or ?reset\n"),
        };
        if let Err(error) = done {
            return text(StatusCode::BAD_REQUEST, &format!("{error}\n"));
        }
        tracing::info!(level = level.current(), "log level changed");
    }
    text(StatusCode::OK, &format!("current log level is {}\n", level.current()))
}

fn quit(admin: &Admin, surface: Surface, method: &Method) -> Response<Full<Bytes>> {
    if method != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "want POST\n");
    }
    if surface != Surface::Admin {
        return text(StatusCode::FORBIDDEN, ONLY_UNIX);
    }
    tracing::info!(grace = ?admin.state.parts.grace, "draining: asked to quit");
    admin.state.parts.drainer.start(admin.state.parts.grace);
    text(StatusCode::OK, "shutdown now\n")
}

/// Profiles tell of everything that the process does, and making them costs something.
async fn profiles<B>(surface: Surface, request: &Request<B>) -> Response<Full<Bytes>> {
    if surface != Surface::Admin {
        return text(StatusCode::FORBIDDEN, ONLY_UNIX);
    }
    let query = request.uri().query().unwrap_or_default();
    let made = match (request.method(), request.uri().path().trim_start_matches(PROFILES)) {
        (&Method::GET, "profile") => match Sampling::of(query) {
            Some(sampling) => profile::processor(sampling).await.map(|stacks| text(StatusCode::OK, &stacks)),
            None => return text(StatusCode::BAD_REQUEST, "want ?seconds=1..120&frequency=1..1000\n"),
        },
        (&Method::GET, "heap") => {
            let content = "application/octet-stream";
            profile::heap().await.map(|heap| answer_of(StatusCode::OK, content, heap.into()))
        }
        (&Method::POST, "heap/profiling") => {
            let on = match query {
                "activate=true" => true,
                "activate=false" => false,
                _ => return text(StatusCode::BAD_REQUEST, "want ?activate=true or ?activate=false\n"),
            };
            tracing::info!(on, "heap sampling changed");
            profile::sample_heap(on).await.map(|()| text(StatusCode::OK, "done\n"))
        }
        _ => return text(StatusCode::NOT_FOUND, "no such page\n"),
    };
    made.unwrap_or_else(|error| {
        let status = match error {
            ProfileError::HeapOff | ProfileError::Processor(_) => StatusCode::CONFLICT,
            ProfileError::Heap(_) => StatusCode::INTERNAL_SERVER_ERROR,
            ProfileError::Unsupported => StatusCode::NOT_IMPLEMENTED,
        };
        text(status, &format!("{error}\n"))
    })
}

/// Undoes `%2C` and the like; levels have commas and equal signs, which some clients escape.
fn unescape(text: &str) -> String {
    let mut parts = text.split('%');
    let mut plain = String::from(parts.next().unwrap_or_default());
    for part in parts {
        let byte = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(u8::is_ascii);
        match byte {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[2..]);
            }
            None => {
                plain.push('%');
                plain.push_str(part);
            }
        }
    }
    plain
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    answer_of(status, "text/plain; charset=utf-8", Bytes::copy_from_slice(body.as_bytes()))
}

fn json_answer(value: &Value) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec_pretty(value).expect("a JSON value is always JSON");
    answer_of(StatusCode::OK, "application/json", body.into())
}

fn answer_of(status: StatusCode, content: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content));
    response
}

const INDEX: &str = "\
GET  /healthz/live                 the process runs
GET  /healthz/ready                200, or 503 with what is outstanding
GET  /metrics                      Prometheus metrics
GET  /logging                      the log level
POST /logging?level=LEVEL          sets it: info, or hbone=debug,info
POST /logging?reset                sets what the daemon started with
POST /quitquitquit                 drains and ends the daemon
GET  /debug/pprof/profile          stacks of processor time, for flame graphs: ?seconds=10&frequency=99
GET  /debug/pprof/heap             memory in use by where it was allocated, for pprof
POST /debug/pprof/heap/profiling   turns heap samples on and off: ?activate=true
GET  /config_dump                  all of the following
";

const PROFILES: &str = "/debug/pprof/";

const ONLY_UNIX: &str = "only on the Unix socket\n";

/// Time for one part of a dump.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(5);
