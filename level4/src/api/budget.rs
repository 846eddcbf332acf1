//! `GET` and `POST /cluster/budget`: what a request may use, the same on all nodes.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value as Json, json};

use super::cluster::json_reply;
use super::params::{Parameters, time};
use super::{Api, ApiError, NOT_READ, answer};
use crate::codec::Writer;
use crate::database::{Budget, Scope};
use crate::message::Command;

/// A budget in which nothing could be done any more, not even to set another one, is refused.
const LEAST: Budget = Budget {
    steps: 100_000,
    memory: 1024 * 1024,
    answer: 64 * 1024,
    scope: Scope::Request,
};

/// The budget as this node has it.
pub async fn show(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let limit = time(&parameters, "timeout")?;
    let view = answer(Some(api.node.view()), limit, NOT_READ).await?;
    Ok(json_reply(&to_json(view.budget())))
}

/// Sets it for all requests that come after, from `{"steps": …, "memory": …, "answer": …}`; what is not
/// given becomes the default.
pub async fn configure(
    State(api): State<Api>,
    parameters: Parameters,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let budget = parse(&body)?;
    let mut writer = Writer::new();
    budget.encode(&mut writer);
    let command = Command::Configure(writer.finish().into());
    api.execute(None, command, time(&parameters, "timeout")?)
        .await?;
    Ok(json_reply(&to_json(budget)))
}

fn to_json(budget: Budget) -> Json {
    json!({ "steps": budget.steps, "memory": budget.memory, "answer": budget.answer })
}

fn parse(body: &[u8]) -> Result<Budget, ApiError> {
    let form = r#"the body has to be {"steps": N, "memory": BYTES, "answer": BYTES}"#;
    let Ok(Json::Object(given)) = serde_json::from_slice(body) else {
        return Err(ApiError::bad(form));
    };
    let mut budget = Budget::default();
    for (name, value) in given {
        let (part, least) = match name.as_str() {
            "steps" => (&mut budget.steps, LEAST.steps),
            "memory" => (&mut budget.memory, LEAST.memory),
            "answer" => (&mut budget.answer, LEAST.answer),
            _ => return Err(ApiError::bad(form)),
        };
        *part = match value.as_u64() {
            Some(number) if number >= least => number,
            _ => {
                return Err(ApiError::bad(format!(
                    "{name} has to be a number of at least {least}"
                )));
            }
        };
    }
    Ok(budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_read_part_by_part() {
        let usual = Budget::default();
        let steps = 1_000_000;
        assert_eq!(parse(b"{}").unwrap(), usual);
        let parsed = parse(br#"{"steps": 1000000}"#).unwrap();
        assert_eq!(parsed, Budget { steps, ..usual });
        for bad in [
            &b"[]"[..],
            b"{\"steps\": 1}",
            b"{\"answer\": \"1\"}",
            b"{\"x\": 1}",
        ] {
            assert!(parse(bad).is_err());
        }
    }
}
