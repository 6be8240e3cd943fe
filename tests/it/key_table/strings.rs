//! Strings have one spelling, and nothing is done to what they say.

use super::{Table, chat, chat_with, value};
use crate::harness::Ask;

/// A chat question with these bytes in a string.
fn bytes(content: &[u8]) -> Ask {
    chat([br#"{"model":"m","messages":[],"x":""#, content, br#""}"#].concat())
}

pub fn rows(t: &mut Table) {
    spellings(t);
    meanings(t);
    surrogates(t);
    not_strings(t);
    not_utf8(t);
}

fn spellings(t: &mut Table) {
    t.theme("strings, one spelling");
    for (name, a, b) in [
        ("a letter", r#""A""#, r#""\u0041""#),
        ("a slash", r#""a/b""#, r#""a\/b""#),
        ("an escaped slash", r#""\/""#, r#""\u002f""#),
        ("é", r#""é""#, r#""\u00e9""#),
        ("case of the digits", r#""\u00e9""#, r#""\u00E9""#),
        ("mixed case of the digits", r#""\uABCD""#, r#""\uaBcD""#),
        ("line feed", r#""\n""#, r#""\u000a""#),
        ("carriage return", r#""\r""#, r#""\u000D""#),
        ("tab", r#""\t""#, r#""\u0009""#),
        ("backspace", r#""\b""#, r#""\u0008""#),
        ("form feed", r#""\f""#, r#""\u000c""#),
        ("a control character", r#""\u001f""#, r#""\u001F""#),
        ("a quote", r#""\"""#, r#""\u0022""#),
        ("a backslash", r#""\\""#, r#""\u005c""#),
        ("beyond the plane", "\"😀\"", r#""\ud83d\ude00""#),
        ("case of a pair", r#""\ud83d\ude00""#, r#""\uD83D\uDE00""#),
        ("the last character", "\"\u{10ffff}\"", r#""\udbff\udfff""#),
        ("below the surrogates", "\"\u{d7ff}\"", r#""\ud7ff""#),
        ("above the surrogates", "\"\u{e000}\"", r#""\ue000""#),
        ("a noncharacter", "\"\u{ffff}\"", r#""\uffff""#),
        ("delete", "\"\u{7f}\"", r#""\u007f""#),
        ("a line separator", "\"\u{2028}\"", r#""\u2028""#),
        ("a BOM inside", "\"\u{feff}a\"", r#""\ufeffa""#),
        ("decomposed", "\"e\u{301}\"", r#""e\u0301""#),
        ("in an array", r#"["a","b"]"#, r#"["\u0061","b"]"#),
        ("in a key below", r#"{"a":1}"#, r#"{"\u0061":1}"#),
        ("an empty key", r#"{"":1}"#, r#"{ "" : 1}"#),
    ] {
        t.same(name, value(a), value(b));
    }
    t.same(
        "a top-level key",
        chat_with(r#""x":1"#),
        chat_with(r#""\u0078":1"#),
    );
    t.same(
        "the model",
        chat(r#"{"model":"gpt","messages":[]}"#),
        chat(r#"{"mod\u0065l":"\u0067pt","messages":[]}"#),
    );
    t.same(
        "keys are sorted by what they say",
        chat_with(r#""\u0062":1,"a":2"#),
        chat_with(r#""a":2,"b":1"#),
    );
}

fn meanings(t: &mut Table) {
    t.theme("strings, two meanings");
    for (name, a, b) in [
        ("NFC and NFD", "\"é\"", "\"e\u{301}\""),
        ("NFC and NFD, escaped", r#""\u00e9""#, r#""e\u0301""#),
        ("NFC and NFD of a key", "{\"é\":1}", "{\"e\u{301}\":1}"),
        ("Hangul", "\"\u{ac00}\"", "\"\u{1100}\u{1161}\""),
        ("singleton: Kelvin and K", "\"\u{212a}\"", "\"K\""),
        ("singleton: Ohm and omega", "\"\u{2126}\"", "\"\u{3a9}\""),
        ("NFKC: a ligature", "\"\u{fb01}\"", "\"fi\""),
        ("NFKC: full width", "\"Ａ\"", "\"A\""),
        (
            "order of marks",
            "\"a\u{323}\u{307}\"",
            "\"a\u{307}\u{323}\"",
        ),
        ("ß and ss", "\"ß\"", "\"ss\""),
        ("case", "\"a\"", "\"A\""),
        ("case of a key", "{\"a\":1}", "{\"A\":1}"),
        ("Latin and Cyrillic", "\"a\"", "\"\u{430}\""),
        ("a space behind", "\"a\"", "\"a \""),
        ("a space before", "\"a\"", "\" a\""),
        ("two spaces", "\"a b\"", "\"a  b\""),
        ("a hard space", "\"a b\"", "\"a\u{a0}b\""),
        ("line ends", r#""a\nb""#, r#""a\r\nb""#),
        ("a newline and its escape", r#""\n""#, r#""\\n""#),
        ("a letter and its escape", r#""\u0041""#, r#""\\u0041""#),
        ("NUL and nothing", r#""\u0000""#, r#""""#),
        ("NUL in the middle", r#""a\u0000b""#, r#""a\u0000c""#),
        ("a BOM and nothing", "\"\u{feff}a\"", "\"a\""),
        ("a joiner", "\"a\u{200d}b\"", "\"ab\""),
        ("a soft hyphen", "\"a\u{ad}b\"", "\"ab\""),
        ("a variation selector", "\"❤\u{fe0f}\"", "\"❤\""),
        ("a replacement character", "\"\u{fffd}\"", "\"?\""),
        ("empty and null", r#""""#, "null"),
        ("empty and a space", r#""""#, r#"" ""#),
        ("a quote inside", r#""a\",\"b""#, r#"["a","b"]"#),
        ("a word and its name", "\"true\"", "true"),
        ("an empty key and none", r#"{"":1}"#, "{}"),
        (
            "JSON in a string, spaced",
            r#""{\"a\":1}""#,
            r#""{\"a\": 1}""#,
        ),
        ("key and value", r#"{"a":"b"}"#, r#"{"b":"a"}"#),
    ] {
        t.different(name, value(a), value(b));
    }
}

fn surrogates(t: &mut Table) {
    t.theme("lone surrogates");
    for content in [
        r"\ud800",
        r"\uD800",
        r"\udbff",
        r"\udc00",
        r"\udfff",
        r"\ude00\ud83d",
        r"\ud83d\ud83d",
        r"\ud83d\u0041",
        r"\ud83dA",
        r"\ud83d \ude00",
        r"\ud83d\n",
        r"a\ud83d\ude00\ude00",
        r"\ud83d😀",
        r"\\\ud800",
    ] {
        t.uncacheable(content, bytes(content.as_bytes()), "lone-surrogate");
    }
    t.uncacheable("in a key", chat_with(r#""\ud800":1"#), "lone-surrogate");
    t.uncacheable(
        "in an ignored field",
        chat_with(r#""user":"\ud800""#),
        "lone-surrogate",
    );
    t.uncacheable(
        "in the model",
        chat(r#"{"model":"\udc00"}"#),
        "lone-surrogate",
    );
    // Nothing but text.
    t.different("escaped backslash", bytes(br"\\ud800"), bytes(br"\\ud801"));
}

fn not_strings(t: &mut Table) {
    t.theme("strings that are not JSON");
    for (name, content) in [
        ("a raw line feed", &b"a\nb"[..]),
        ("a raw tab", b"a\tb"),
        ("a raw NUL", b"a\0b"),
        ("a raw escape character", b"\x1b"),
        ("a raw unit separator", b"\x1f"),
        (r"\x41", br"\x41"),
        (r"\U0041", br"\U0041"),
        (r"\'", br"\'"),
        (r"\0", br"\0"),
        (r"\v", br"\v"),
        (r"\u12", br"\u12"),
        (r"\u00zz", br"\u00zz"),
        (r"\u+041", br"\u+041"),
        (r"\u{41}", br"\u{41}"),
        (r"half a pair's second", br"\ud83d\ude0"),
        ("an escaped end", b"\\"),
        ("a quote too many", b"a\"b"),
        ("an escaped line end", b"a\\\nb"),
    ] {
        t.uncacheable(name, bytes(content), "invalid-json");
    }
    t.uncacheable("single quotes", value("'a'"), "invalid-json");
    t.uncacheable("no quotes", value("a"), "invalid-json");
    t.uncacheable("curly quotes", value("“a”"), "invalid-json");
    t.uncacheable("two in a row", value(r#""a" "b""#), "invalid-json");
}

fn not_utf8(t: &mut Table) {
    t.theme("not UTF-8");
    for (name, content) in [
        ("0xff", &b"\xff"[..]),
        ("Latin-1", b"caf\xe9"),
        ("a continuation alone", b"\x80"),
        ("cut before the quote", b"\xc3"),
        ("cut in three", b"\xe2\x82"),
        ("overlong slash in two", b"\xc0\xaf"),
        ("overlong slash in three", b"\xe0\x80\xaf"),
        ("overlong slash in four", b"\xf0\x80\x80\xaf"),
        ("overlong NUL", b"\xc0\x80"),
        ("overlong A", b"\xc1\x81"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("a pair of surrogates", b"\xed\xa0\xbd\xed\xb8\x80"),
        ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
    ] {
        t.uncacheable(name, bytes(content), "invalid-utf8");
    }
    t.uncacheable(
        "in a key",
        chat(b"{\"model\":\"m\",\"\xff\":1}".to_vec()),
        "invalid-utf8",
    );
    t.uncacheable(
        "in an ignored field",
        chat(b"{\"model\":\"m\",\"user\":\"\xff\"}".to_vec()),
        "invalid-utf8",
    );
    t.uncacheable(
        "behind the object",
        chat(b"{\"model\":\"m\"}\xff".to_vec()),
        "invalid-utf8",
    );
    let wide = |bom: &str| -> Vec<u8> {
        let text = format!("{bom}{{\"model\":\"m\"}}");
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    t.uncacheable("UTF-16 with a BOM", chat(wide("\u{feff}")), "invalid-utf8");
    t.uncacheable("UTF-16 without one", chat(wide("")), "invalid-json");
}
