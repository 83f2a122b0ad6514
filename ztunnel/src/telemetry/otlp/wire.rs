//! The messages, written by hand so that the build needs no protoc. Names and field numbers are those of
//! opentelemetry-proto 1.x: `collector/trace/v1/trace_service.proto`, `trace/v1/trace.proto`, `common/v1/common.proto`.

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::telemetry) struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::telemetry) resource_spans: Vec<ResourceSpans>,
}

/// `ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::telemetry) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(in crate::telemetry) partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::telemetry) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(in crate::telemetry) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(in crate::telemetry) error_message: String,
}

/// `ResourceSpans`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::telemetry) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(in crate::telemetry) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(in crate::telemetry) scope_spans: Vec<ScopeSpans>,
}

/// `Resource`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::telemetry) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::telemetry) attributes: Vec<KeyValue>,
}

/// `ScopeSpans`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::telemetry) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(in crate::telemetry) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(in crate::telemetry) spans: Vec<Span>,
}

/// `InstrumentationScope`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::telemetry) struct Scope {
    #[prost(string, tag = "1")]
    pub(in crate::telemetry) name: String,
    #[prost(string, tag = "2")]
    pub(in crate::telemetry) version: String,
}

/// `Span`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::telemetry) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::telemetry) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(in crate::telemetry) span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(in crate::telemetry) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(in crate::telemetry) name: String,
    /// 2 is a server's, 3 a client's.
    #[prost(int32, tag = "6")]
    pub(in crate::telemetry) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(in crate::telemetry) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub(in crate::telemetry) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub(in crate::telemetry) attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub(in crate::telemetry) status: Option<Status>,
}

/// `Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::telemetry) struct Status {
    #[prost(string, tag = "2")]
    pub(in crate::telemetry) message: String,
    /// 2 is an error.
    #[prost(int32, tag = "3")]
    pub(in crate::telemetry) code: i32,
}

/// `KeyValue`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::telemetry) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(in crate::telemetry) key: String,
    #[prost(message, optional, tag = "2")]
    pub(in crate::telemetry) value: Option<AnyValue>,
}

/// `AnyValue`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::telemetry) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    pub(in crate::telemetry) value: Option<Value>,
}

/// The kinds of values that are of use here.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(in crate::telemetry) enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

impl KeyValue {
    pub(super) fn text(key: &str, value: impl Into<String>) -> Self {
        let value = Some(Value::Text(value.into()));
        Self { key: key.to_owned(), value: Some(AnyValue { value }) }
    }

    pub(super) fn number(key: &str, value: u64) -> Self {
        let value = Some(Value::Number(i64::try_from(value).unwrap_or(i64::MAX)));
        Self { key: key.to_owned(), value: Some(AnyValue { value }) }
    }
}

/// Where spans are sent.
pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub(super) const SERVER: i32 = 2;
pub(super) const CLIENT: i32 = 3;
pub(super) const ERROR: i32 = 2;
