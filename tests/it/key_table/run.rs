//! Asking all rows, and what became of each.

use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt, StreamExt, stream};
use serde_json::json;
use tokio::net::TcpStream;

use super::table::{Expect, Request, Row, Table};
use super::with;
use crate::harness::*;

/// Rows asked side by side.
const AT_ONCE: usize = 16;
/// Names the row on every request. It counts towards the tenant, so that no row meets an entry of
/// another, and the upstream sees whose request it is.
const ROW: &str = "x-row-tenant";

/// The rows that do not hold, each with its name and what was seen instead.
pub async fn failures(table: Table) -> Vec<String> {
    let rows = table.into_rows();
    let (first, second) = (
        origin().answer(answer).start().await,
        origin().answer(answer).start().await,
    );
    let proxy = proxy()
        .config(|c| {
            // Texts that are known one by one would answer for other batches.
            c.set("cache.embeddings_by_item", false);
            c.upstream("openai", &first, json!({}));
            c.upstream("other", &second, json!({"models": ["other-*"]}));
            // Another account at the same provider.
            c.upstream("twin", &first, json!({}));
        })
        .start()
        .await;
    let asked = stream::iter(rows.iter().enumerate()).map(|(number, row)| {
        let telling = AssertUnwindSafe(tell(&proxy, number, row)).catch_unwind();
        async move {
            let told = telling.await;
            told.unwrap_or_else(|_| Err(io::Error::other("no answer, see above")))
        }
    });
    let told: Vec<_> = asked.buffered(AT_ONCE).collect().await;
    let mut calls: BTreeMap<usize, Vec<Call>> = BTreeMap::new();
    for call in first.calls().into_iter().chain(second.calls()) {
        let row = call.header(ROW).and_then(|row| row.parse().ok());
        calls.entry(row.unwrap()).or_default().push(call);
    }
    let nothing = Vec::new();
    let mut failures = Vec::new();
    for (number, (row, told)) in rows.iter().zip(told).enumerate() {
        let calls = calls.get(&number).unwrap_or(&nothing);
        let held = match told {
            Ok(answers) => judge(row, &answers, calls),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = held {
            failures.push(format!("- {}\n  {:?}, but {why}", row.name, row.expect));
        }
    }
    failures
}

/// Both answers of a row, one after the other.
async fn tell(proxy: &Proxy, number: usize, row: &Row) -> io::Result<[Answer; 2]> {
    let [a, b] = &row.pair;
    Ok([told(proxy, number, a).await?, told(proxy, number, b).await?])
}

async fn told(proxy: &Proxy, number: usize, request: &Request) -> io::Result<Answer> {
    let ask = with(request.ask.clone(), ROW, &number.to_string());
    if request.h2 {
        return Ok(proxy.h2().await.ask(&ask).await);
    }
    let socket = TcpStream::connect(proxy.addr).await?;
    H1::over(Box::new(socket)).try_ask(&ask).await
}

/// A good answer to whatever is asked: bodies that no JSON reader takes included.
fn answer(call: &Call) -> Reply {
    let path = call.target.split('?').next().unwrap_or_default();
    if path.ends_with("/chat/completions") && !call.streams() {
        return llm::chat_json(call);
    }
    llm::any(call)
}

fn judge(row: &Row, answers: &[Answer; 2], calls: &[Call]) -> Result<(), String> {
    let seen = answers.each_ref().map(|answer| {
        (
            answer.outcome(),
            answer.field("x-llm-cache-key"),
            answer.field("cache-status").unwrap_or_default(),
        )
    });
    let asked = calls.len();
    let [(first, first_key, _), (second, second_key, _)] = seen;
    let keys = first_key.zip(second_key);
    let equal = keys.map(|(a, b)| a == b);
    let words = (first, second);
    let holds = match row.expect {
        Expect::Same => equal == Some(true) && words == ("miss", "hit") && asked == 1,
        Expect::Different => equal == Some(false) && words == ("miss", "miss") && asked == 2,
        Expect::OtherForm => equal == Some(false) && first == "miss",
        Expect::Uncacheable(reason) => {
            let status = format!("llm-cache-server; fwd=bypass; detail={reason}");
            let bypass = ("bypass", None, status.as_str());
            seen == [bypass, bypass] && asked == 2
        }
        Expect::Passes => seen == [("", None, ""), ("", None, "")] && asked == 2,
    };
    if !holds {
        let status = answers.each_ref().map(|answer| answer.head.status);
        return Err(format!(
            "upstream asked {asked}x, status {status:?}, seen {seen:#?}"
        ));
    }
    for call in calls {
        let sent = row.pair.iter().any(|request| request.ask.body == call.body);
        if !sent {
            return Err("the body was changed on its way".to_owned());
        }
    }
    Ok(())
}
