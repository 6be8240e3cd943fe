//! A second reader, as plain as can be, that the fast one must agree with.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::values::Json;

/// The value of an object's text, `None` if it is not one or has duplicate keys or lone
/// surrogates. It knows no limits.
pub(super) fn parse(text: &str) -> Option<Json> {
    let mut chars = text.chars().peekable();
    let value = value(&mut chars)?;
    (chars.next().is_none() && matches!(value, Json::Object(_))).then_some(value)
}

type Input<'a> = Peekable<Chars<'a>>;

fn space(chars: &mut Input<'_>) {
    while chars.next_if(|c| " \t\n\r".contains(*c)).is_some() {}
}

/// A value and the white space around it.
fn value(chars: &mut Input<'_>) -> Option<Json> {
    space(chars);
    let value = match chars.peek()? {
        '{' => object(chars)?,
        '[' => list(chars)?,
        '"' => Json::Text(text(chars)?),
        _ => lexeme(chars)?,
    };
    space(chars);
    Some(value)
}

fn object(chars: &mut Input<'_>) -> Option<Json> {
    chars.next();
    let mut members = BTreeMap::new();
    space(chars);
    if chars.next_if_eq(&'}').is_some() {
        return Some(Json::Object(Vec::new()));
    }
    loop {
        space(chars);
        let key = text(chars)?;
        space(chars);
        chars.next_if_eq(&':')?;
        if members.insert(key, value(chars)?).is_some() {
            return None;
        }
        match chars.next()? {
            ',' => {}
            '}' => return Some(Json::Object(members.into_iter().collect())),
            _ => return None,
        }
    }
}

fn list(chars: &mut Input<'_>) -> Option<Json> {
    chars.next();
    let mut items = Vec::new();
    space(chars);
    if chars.next_if_eq(&']').is_some() {
        return Some(Json::List(items));
    }
    loop {
        items.push(value(chars)?);
        match chars.next()? {
            ',' => {}
            ']' => return Some(Json::List(items)),
            _ => return None,
        }
    }
}

/// Collects UTF-16, which tells halves of a pair that belong together from others.
fn text(chars: &mut Input<'_>) -> Option<String> {
    chars.next_if_eq(&'"')?;
    let mut units = Vec::new();
    loop {
        let c = match chars.next()? {
            '"' => return String::from_utf16(&units).ok(),
            '\\' => match chars.next()? {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let is_hex = digits.len() == 4 && digits.chars().all(|c| c.is_ascii_hexdigit());
                    units.push(is_hex.then(|| u16::from_str_radix(&digits, 16).ok())??);
                    continue;
                }
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                c @ ('"' | '\\' | '/') => c,
                _ => return None,
            },
            c if c < ' ' => return None,
            c => c,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
}

fn lexeme(chars: &mut Input<'_>) -> Option<Json> {
    let mut word = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)) {
        word.push(c);
    }
    let valid = ["null", "true", "false"].contains(&word.as_str()) || is_number(&word);
    valid.then_some(Json::Lexeme(word))
}

fn is_number(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let word = word.strip_prefix('-').unwrap_or(word);
    let (word, exponent) = match word.split_once(['e', 'E']) {
        Some((word, exponent)) => (word, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => (word, "0"),
    };
    let (whole, fraction) = word.split_once('.').unwrap_or((word, "0"));
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    digits(whole) && !leading_zero && digits(fraction) && digits(exponent)
}
