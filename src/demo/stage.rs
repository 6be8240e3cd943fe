//! How a scene is played: ask, show, and hold what was seen against what the scene claims.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::{Answer, Client, ClientError, LiveText};
use super::screen::{Screen, count, time};
use super::{DemoError, MODEL, StandIn, openai, verify};

/// Clients of the last scene.
pub(super) const CROWD: usize = 100;

pub(super) struct Question {
    text: String,
    stream: bool,
    body: Bytes,
}

impl Question {
    pub fn new(text: String, stream: bool) -> Question {
        let messages = json!([{"role": "user", "content": text}]);
        let body = json!({"model": MODEL, "messages": messages, "stream": stream});
        Question {
            text,
            stream,
            body: Bytes::from(body.to_string()),
        }
    }
}

pub(super) struct Stage<'a, W> {
    proxy: SocketAddr,
    stand_in: &'a StandIn,
    pub screen: Screen<'a, W>,
}

impl<'a, W: Write + Send> Stage<'a, W> {
    pub fn new(proxy: SocketAddr, stand_in: &'a StandIn, out: &'a mut W, colour: bool) -> Self {
        Stage {
            proxy,
            stand_in,
            screen: Screen::new(out, colour),
        }
    }

    pub fn opening(&mut self) -> std::io::Result<()> {
        let pace = self.stand_in.pace();
        self.screen
            .heading("llm-cache-server: the same question is paid for once")?;
        self.screen.paragraph(&format!(
            "A stand-in LLM listens on {}. It takes {} to its first token and {} for each one \
             after, as a hosted model would, and counts its calls. The proxy before it listens on \
             {}. Times run from the moment a request is sent on an open connection.",
            self.stand_in.addr,
            time(pace.first_token),
            time(pace.per_token),
            self.proxy,
        ))
    }

    /// One request by one client. `earlier` is the answer that a hit must repeat.
    pub async fn ask(
        &mut self,
        scene: u8,
        question: &Question,
        outcome: &'static str,
        earlier: Option<&Answer>,
    ) -> Result<Answer, DemoError> {
        self.screen.question(&question.text)?;
        let before = self.stand_in.calls();
        let answer = self.watch(scene, question).await?;
        let calls = self.stand_in.calls().saturating_sub(before);

        let wrong = |what| DemoError::Wrong { scene, what };
        verify::answered(&answer).map_err(wrong)?;
        self.screen
            .outcome("x-llm-cache", verify::header(&answer, verify::OUTCOME))?;
        self.screen.row(
            "Cache-Status",
            verify::header(&answer, verify::CACHE_STATUS),
        )?;
        let (first_byte, last_byte) = (time(answer.first_byte), time(answer.last_byte));
        self.screen.row(
            "time",
            &format!("first byte {first_byte}, last byte {last_byte}"),
        )?;
        self.screen.row("upstream", &calls_text(calls))?;

        verify::outcome(&answer, outcome).map_err(wrong)?;
        verify::calls(calls, u64::from(outcome == "miss")).map_err(wrong)?;
        if question.stream {
            verify::ended(&answer).map_err(wrong)?;
        }
        if let Some(earlier) = earlier {
            verify::same(earlier, &answer).map_err(wrong)?;
            let ratio = earlier.last_byte.as_secs_f64() / answer.last_byte.as_secs_f64();
            let ratio = count(ratio.round() as u64);
            self.screen.row(
                "body",
                &format!("the same, byte for byte, {ratio} times sooner"),
            )?;
        } else if question.stream {
            let tokens = LiveText::default().push(&answer.body).len();
            let pace = self.stand_in.pace();
            let spoken = pace.whole(tokens).saturating_sub(pace.first_token);
            verify::live(&answer, spoken).map_err(wrong)?;
        }
        self.screen.blank()?;
        Ok(answer)
    }

    pub async fn crowd(&mut self, scene: u8, question: &Question) -> Result<(), DemoError> {
        self.screen.question(&question.text)?;
        let before = self.stand_in.calls();
        let failed = |source| DemoError::Request { scene, source };
        let mut others = Vec::with_capacity(CROWD - 1);
        for _ in 1..CROWD {
            others.push(Client::connect(self.proxy).await.map_err(failed)?);
        }
        let mut asking = JoinSet::new();
        for mut client in others {
            let body = question.body.clone();
            asking.spawn(async move {
                client
                    .send(Method::POST, openai::PATH, body, |_| Ok(()))
                    .await
            });
        }
        // One of the hundred is shown; which outcome it has is left to chance.
        let shown = self.watch(scene, question).await?;
        let mut answers = vec![shown];
        while let Some(joined) = asking.join_next().await {
            let answer = joined
                .map_err(|error| ClientError::Sink(error.into()))
                .map_err(failed)?;
            answers.push(answer.map_err(failed)?);
        }
        let calls = self.stand_in.calls().saturating_sub(before);

        let wrong = |what| DemoError::Wrong { scene, what };
        self.screen.row("upstream", &calls_text(calls))?;
        verify::calls(calls, 1).map_err(wrong)?;
        let tally = verify::crowd(&answers).map_err(wrong)?;
        let late = if tally.hit > 0 {
            format!(", {} hit", tally.hit)
        } else {
            String::new()
        };
        self.screen.row(
            "answers",
            &format!("{} miss, {} coalesced{late}", tally.miss, tally.coalesced),
        )?;
        self.screen
            .row("bodies", &format!("all {CROWD} the same, byte for byte"))?;
        self.screen
            .row("first byte", &spread(&answers, |answer| answer.first_byte))?;
        self.screen
            .row("last byte", &spread(&answers, |answer| answer.last_byte))?;
        if let Some(shown) = answers.first() {
            self.screen
                .outcome("shown above", verify::header(shown, verify::OUTCOME))?;
        }
        self.screen.blank()?;
        Ok(())
    }

    /// Asks on a connection of its own and shows the answer's text while it arrives.
    async fn watch(&mut self, scene: u8, question: &Question) -> Result<Answer, DemoError> {
        let failed = |source| match source {
            ClientError::Sink(error) => DemoError::Output(error),
            source => DemoError::Request { scene, source },
        };
        let mut client = Client::connect(self.proxy).await.map_err(failed)?;
        let mut live = LiveText::default();
        let screen = &mut self.screen;
        let body = question.body.clone();
        let on_piece = |piece: &[u8]| match question.stream {
            true => {
                live.push(piece)
                    .iter()
                    .try_for_each(|token| screen.token(token))?;
                screen.flush()
            }
            false => Ok(()),
        };
        let answer = client
            .send(Method::POST, openai::PATH, body, on_piece)
            .await
            .map_err(failed)?;
        if question.stream {
            self.screen.end_text()?;
        } else {
            let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let text = document
                .pointer("/choices/0/message/content")
                .and_then(Value::as_str);
            self.screen.paragraph(text.unwrap_or_default())?;
        }
        Ok(answer)
    }
}

fn calls_text(calls: u64) -> String {
    match calls {
        0 => "no call".to_owned(),
        1 => "1 call".to_owned(),
        calls => format!("{calls} calls"),
    }
}

fn spread(answers: &[Answer], of: impl Fn(&Answer) -> Duration) -> String {
    let mut times: Vec<Duration> = answers.iter().map(of).collect();
    times.sort_unstable();
    let at = |index: usize| time(times.get(index).copied().unwrap_or_default());
    let (median, last) = (times.len() / 2, times.len().saturating_sub(1));
    format!(
        "fastest {}, median {}, slowest {}",
        at(0),
        at(median),
        at(last)
    )
}
