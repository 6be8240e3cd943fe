//! An HTTP/1.1 client with every byte in the test's hands.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;

use super::answer::{Answer, End, Gathering, Head};
use super::ask::{Ask, Sending};
use super::framing::{Framing, Reader};
use super::gate::bounded;

pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// One connection.
pub struct H1 {
    reader: Reader<ReadHalf<Box<dyn Socket>>>,
    writer: WriteHalf<Box<dyn Socket>>,
    framing: Framing,
    /// The last answer said that the connection closes behind it.
    pub closing: bool,
    /// How often the server said `100 Continue`.
    pub continues: usize,
    answer: Option<Gathering>,
}

impl H1 {
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = match bounded("a connection", TcpStream::connect(addr)).await {
            Ok(stream) => stream,
            Err(error) => panic!("cannot connect to {addr}: {error}"),
        };
        stream.set_nodelay(true).unwrap();
        Self::over(Box::new(stream))
    }

    /// Speaks over a connection made elsewhere, TLS for one.
    pub fn over(socket: Box<dyn Socket>) -> Self {
        let (reader, writer) = split(socket);
        Self {
            reader: Reader::new(reader),
            writer,
            framing: Framing::Done,
            closing: false,
            continues: 0,
            answer: None,
        }
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await?;
        self.writer.flush().await
    }

    /// Asks and reads the whole answer.
    #[track_caller]
    pub fn ask(&mut self, ask: &Ask) -> impl Future<Output = Answer> {
        let what = format!("the answer to {} {}", ask.method, ask.path);
        bounded(what, async move {
            self.start(ask).await;
            self.finish().await
        })
    }

    /// Like `ask`; an error if the connection ends before the answer's head.
    pub async fn try_ask(&mut self, ask: &Ask) -> io::Result<Answer> {
        bounded("an answer or a break", async {
            self.try_start(ask).await?;
            Ok(self.finish().await)
        })
        .await
    }

    /// Asks and reads the answer's head; the body is sent in full unless the connection breaks.
    pub async fn start(&mut self, ask: &Ask) -> Head {
        match bounded("the head of an answer", self.try_start(ask)).await {
            Ok(head) => head,
            Err(error) => panic!("{} {} has no answer: {error}", ask.method, ask.path),
        }
    }

    async fn try_start(&mut self, ask: &Ask) -> io::Result<Head> {
        self.write(head_of(ask).as_bytes()).await?;
        if ask.expects() {
            let head = bounded("100 Continue or an answer", head(&mut self.reader)).await?;
            if head.status != 100 {
                // Answered without the body, which is then not sent.
                return Ok(self.begin(head));
            }
            self.continues += 1;
        }
        let Self {
            reader,
            writer,
            continues,
            ..
        } = self;
        // A server may answer early, so reading and sending go side by side. A failed send
        // shows in what can be read.
        let (head, _sent) = tokio::join!(final_head(reader, continues), send_body(writer, ask));
        Ok(self.begin(head?))
    }

    /// Reads one more answer, to a request that was written by hand.
    pub async fn read_answer(&mut self) -> io::Result<Answer> {
        let Self {
            reader, continues, ..
        } = self;
        let head = bounded("an answer's head", final_head(reader, continues)).await?;
        self.begin(head);
        Ok(bounded("an answer's body", self.finish()).await)
    }

    fn begin(&mut self, head: Head) -> Head {
        self.framing = match head.status {
            204 | 304 => Framing::Done,
            _ => Framing::of(&head.fields, true),
        };
        self.closing = head
            .field("connection")
            .is_some_and(|v| v.eq_ignore_ascii_case("close"));
        self.answer = Some(Gathering::new(head.clone()));
        head
    }

    /// Declares that the answer has no body whatever its fields say: it answers a HEAD.
    pub fn bodiless(&mut self) {
        self.framing = Framing::Done;
    }

    /// Reads until `text` has arrived `times` times.
    #[track_caller]
    pub fn until(&mut self, text: &str, times: usize) -> impl Future<Output = ()> {
        bounded(format!("{text:?} for the {times}th time"), async move {
            while self.gathering().count(text) < times {
                match self.reader.piece(&mut self.framing).await {
                    Ok(Some(piece)) => self.gathering().push(&piece),
                    ended => {
                        let answer = self.answer.take().unwrap();
                        let dump = answer.end(End::Broken(format!("{ended:?}"))).dump();
                        panic!("ended before {text:?} came {times} times: {dump}");
                    }
                }
            }
        })
    }

    /// Reads the rest of the answer that was started.
    pub async fn finish(&mut self) -> Answer {
        let end = loop {
            match self.reader.piece(&mut self.framing).await {
                Ok(Some(piece)) => self.gathering().push(&piece),
                Ok(None) => break End::Clean,
                Err(error) => break End::Broken(error.to_string()),
            }
        };
        self.answer.take().expect("an answer was started").end(end)
    }

    fn gathering(&mut self) -> &mut Gathering {
        self.answer.as_mut().expect("an answer was started")
    }

    /// True once the server has ended the connection and sent nothing more.
    pub async fn ended(&mut self) -> bool {
        bounded("the end of the connection", self.reader.at_end()).await
    }
}

async fn head<R: AsyncRead + Unpin>(reader: &mut Reader<R>) -> io::Result<Head> {
    let Some((start, fields)) = reader.head().await? else {
        let what = "the connection ended without an answer";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
    };
    let status = start
        .strip_prefix("HTTP/1.")
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok());
    match status {
        Some(status) => Ok(Head { status, fields }),
        None => panic!("not a status line: {start:?}"),
    }
}

async fn final_head<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    continues: &mut usize,
) -> io::Result<Head> {
    loop {
        let head = head(reader).await?;
        match head.status {
            100 => *continues += 1,
            102..200 => {}
            _ => return Ok(head),
        }
    }
}

/// The request's head as bytes.
pub fn head_of(ask: &Ask) -> String {
    let mut head = format!("{} {} HTTP/1.1\r\n", ask.method, ask.path);
    if !ask.headers.iter().any(|(name, _)| name == "host") {
        head += "host: cache.test\r\n";
    }
    for (name, value) in &ask.headers {
        head += &format!("{name}: {value}\r\n");
    }
    match ask.sending {
        Sending::Nothing => {}
        Sending::Length => head += &format!("content-length: {}\r\n", ask.body.len()),
        Sending::Pieces(_) => head += "transfer-encoding: chunked\r\n",
    }
    head + "\r\n"
}

/// The request's body as bytes on the wire.
pub fn body_of(ask: &Ask) -> Vec<u8> {
    let mut wire = Vec::with_capacity(ask.body.len() + 64);
    for piece in ask.cut() {
        put_piece(&mut wire, ask, &piece);
    }
    if let Sending::Pieces(_) = ask.sending {
        wire.extend_from_slice(b"0\r\n\r\n");
    }
    wire
}

fn put_piece(wire: &mut Vec<u8>, ask: &Ask, piece: &[u8]) {
    match ask.sending {
        Sending::Pieces(_) => {
            wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            wire.extend_from_slice(piece);
            wire.extend_from_slice(b"\r\n");
        }
        Sending::Nothing | Sending::Length => wire.extend_from_slice(piece),
    }
}

async fn send_body<W: AsyncWrite + Unpin>(writer: &mut W, ask: &Ask) -> io::Result<()> {
    let mut wire = Vec::new();
    for (sent, piece) in ask.cut().iter().enumerate() {
        put_piece(&mut wire, ask, piece);
        // The first pieces go out one by one, so that the server meets them one by one.
        if sent < 4 || wire.len() > 8 * 1024 {
            writer.write_all(&wire).await?;
            writer.flush().await?;
            wire.clear();
        }
    }
    if let Sending::Pieces(_) = ask.sending {
        wire.extend_from_slice(b"0\r\n\r\n");
    }
    writer.write_all(&wire).await?;
    writer.flush().await
}
