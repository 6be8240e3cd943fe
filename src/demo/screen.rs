//! What the demo writes: plain ASCII, at most [`WIDTH`] columns, escape codes only where colour is
//! wanted.

use std::io::{Result, Write};
use std::time::Duration;

/// Columns in use; terminals have had at least 80 for half a century.
const WIDTH: usize = 78;
const INDENT: usize = 3;
const LABEL: usize = 14;

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

/// The terminal, or whatever stands for it.
pub(super) struct Screen<'a, W> {
    out: &'a mut W,
    colour: bool,
    /// Columns used in the line of text under way.
    column: usize,
    /// The last token ended in a blank, which is written only if another one follows on its line.
    blank: bool,
}

impl<'a, W: Write> Screen<'a, W> {
    pub fn new(out: &'a mut W, colour: bool) -> Self {
        Screen {
            out,
            colour,
            column: 0,
            blank: false,
        }
    }

    pub fn heading(&mut self, text: &str) -> Result<()> {
        let text = self.paint(BOLD, text);
        writeln!(self.out, "{text}\n")
    }

    /// Text under a heading, wrapped, with an empty line after it.
    pub fn paragraph(&mut self, text: &str) -> Result<()> {
        text.split_inclusive(' ')
            .try_for_each(|word| self.token(word))?;
        self.end_text()
    }

    pub fn question(&mut self, text: &str) -> Result<()> {
        let text = self.paint(DIM, &format!("> {text}"));
        writeln!(self.out, "{:INDENT$}{text}\n", "")?;
        self.out.flush()
    }

    /// One more piece of a text that grows; a piece holds at most one word and a blank after it.
    pub fn token(&mut self, token: &str) -> Result<()> {
        let word = printable(token.trim_end_matches(' '));
        if !word.is_empty() {
            let blank = usize::from(self.blank);
            if self.column > INDENT && self.column + blank + word.len() > WIDTH {
                writeln!(self.out)?;
                self.column = 0;
            }
            match self.column {
                0 => self.column = INDENT,
                _ => self.column += blank,
            }
            let before = if self.column == INDENT { INDENT } else { blank };
            write!(self.out, "{:before$}{word}", "")?;
            self.column += word.len();
            self.blank = false;
        }
        self.blank |= token.ends_with(' ');
        Ok(())
    }

    /// Ends what [`Screen::token`] began.
    pub fn end_text(&mut self) -> Result<()> {
        (self.column, self.blank) = (0, false);
        writeln!(self.out, "\n")
    }

    /// Brings what was written before the reader's eyes.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }

    /// A labelled value. One that is too long for the line is cut.
    pub fn row(&mut self, label: &str, value: &str) -> Result<()> {
        let space = WIDTH - INDENT - LABEL;
        let mut value = printable(value);
        if value.len() > space {
            value.truncate(space - 3);
            value.push_str("...");
        }
        self.painted_row(label, &value)
    }

    /// A row for an outcome word, in the word's own colour.
    pub fn outcome(&mut self, label: &str, word: &str) -> Result<()> {
        let colour = match word {
            "hit" => GREEN,
            "miss" => YELLOW,
            _ => CYAN,
        };
        let word = self.paint(colour, word);
        self.painted_row(label, &word)
    }

    pub fn blank(&mut self) -> Result<()> {
        writeln!(self.out)?;
        self.out.flush()
    }

    fn painted_row(&mut self, label: &str, value: &str) -> Result<()> {
        let label = self.paint(DIM, &format!("{label:LABEL$}"));
        writeln!(self.out, "{:INDENT$}{label}{value}", "")
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn printable(text: &str) -> String {
    text.replace(|c: char| !c.is_ascii() || c.is_control(), "?")
}

/// A time to three digits or so: `0.21 ms`, `603 ms`, `2.01 s`.
pub(super) fn time(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        ..9.995 => format!("{ms:.2} ms"),
        ..999.5 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1000.0),
    }
}

/// A count with commas: `9,412`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
