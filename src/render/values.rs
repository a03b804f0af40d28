//! Values of attributes: what mrml would print into a style as it stands, right or wrong. A width without its unit or a colour
//! that is none reaches the reader as if it had never been written.

/// What the values of an attribute look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Any,
    Colour,
    /// `10px`, `50%` or `0`.
    Length,
    /// `10px` or `0`.
    Pixels,
    PixelsOrAuto,
    LengthOrAuto,
    /// One to four lengths.
    Sides,
    FontSize,
    LineHeight,
    /// May be negative.
    Spacing,
    Border,
    Weight,
    Vertical,
    Number,
    Font,
    Url,
    /// The one mode of `mj-hero` that mrml renders.
    Fixed,
    OneOf(&'static [&'static str]),
}

impl Value {
    /// Whether `text` is such a value; else what would be right.
    pub fn check(self, text: &str) -> Result<(), String> {
        let text = text.trim();
        let right = match self {
            Value::Any | Value::Font => true,
            Value::Colour => colour(text),
            Value::Length => sized(text, &["px", "%"]),
            Value::Pixels => sized(text, &["px"]),
            Value::PixelsOrAuto => text == "auto" || sized(text, &["px"]),
            Value::LengthOrAuto => text == "auto" || sized(text, &["px", "%"]),
            Value::Sides => {
                let sides: Vec<&str> = text.split_whitespace().collect();
                (1..=4).contains(&sides.len()) && sides.iter().all(|side| sized(side, &["px", "%"]))
            }
            Value::FontSize => text != "0" && sized(text, &["px", "em", "rem", "%"]),
            Value::LineHeight => number(text) || text == "normal" || sized(text, &["px", "em", "%"]),
            Value::Spacing => {
                text == "normal" || sized(text.strip_prefix('-').unwrap_or(text), &["px", "em"])
            }
            Value::Border => border(text),
            Value::Weight => {
                matches!(text, "normal" | "bold" | "lighter" | "bolder")
                    || (text.len() == 3
                        && text.ends_with("00")
                        && (b'1'..=b'9').contains(&text.as_bytes()[0]))
            }
            Value::Vertical => matches!(text, "top" | "middle" | "bottom"),
            Value::Number => number(text),
            Value::Url => !text.contains(char::is_whitespace),
            Value::Fixed => text == "fixed-height",
            Value::OneOf(words) => words.contains(&text),
        };
        if right { Ok(()) } else { Err(self.hint()) }
    }

    fn hint(self) -> String {
        let hint = match self {
            Value::Any | Value::Font => "write any text",
            Value::Colour => "write a colour: #0b5c71, rgb(11, 92, 113) or a name",
            Value::Length => "write a number with px or %, like 12px",
            Value::Pixels => "write a number with px, like 600px",
            Value::PixelsOrAuto => "write a number with px, or auto",
            Value::LengthOrAuto => "write a number with px or %, or auto",
            Value::Sides => "write one to four numbers with px or %, like 12px 24px 0",
            Value::FontSize => "write a number with px, like 16px",
            Value::LineHeight => "write a number, or one with px, em or %, like 24px",
            Value::Spacing => "write a number with px or em, like -0.01em",
            Value::Border => "write width, style and colour, like 1px solid #e3ded3, or none",
            Value::Weight => "write normal, bold, or 100 to 900",
            Value::Vertical => "write top, middle or bottom",
            Value::Number => "write a number without a unit",
            Value::Url => "write an address without blanks in it",
            Value::Fixed => "write mode=\"fixed-height\" with a height; the fluid mode comes out broken",
            Value::OneOf(words) => return format!("write {}", words.join(" or ")),
        };
        hint.to_owned()
    }
}

fn number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.parse::<f64>().is_ok()
}

fn sized(text: &str, units: &[&str]) -> bool {
    text == "0" || units.iter().any(|unit| text.strip_suffix(unit).is_some_and(number))
}

fn border(text: &str) -> bool {
    const STYLES: &[&str] =
        &["none", "hidden", "dotted", "dashed", "solid", "double", "groove", "ridge", "inset", "outset"];
    if matches!(text, "none" | "0") {
        return true;
    }
    // A colour may hold blanks: rgb(1, 2, 3).
    let mut words = text.splitn(3, char::is_whitespace);
    let width = words.next().is_some_and(|word| sized(word, &["px", "em"]));
    let style = words.next().is_some_and(|word| STYLES.contains(&word));
    width && style && words.next().is_none_or(|rest| colour(rest.trim()))
}

fn colour(text: &str) -> bool {
    if let Some(digits) = text.strip_prefix('#') {
        return matches!(digits.len(), 3 | 4 | 6 | 8) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    }
    let function = ["rgb(", "rgba(", "hsl(", "hsla("].iter().find_map(|start| text.strip_prefix(start));
    if let Some(inner) = function.and_then(|rest| rest.strip_suffix(')')) {
        let parts: Vec<&str> =
            inner.split([',', '/', ' ']).map(str::trim).filter(|part| !part.is_empty()).collect();
        let part = |part: &&str| number(part.trim_end_matches("deg").trim_end_matches('%'));
        return matches!(parts.len(), 3 | 4) && parts.iter().all(part);
    }
    let name = text.to_ascii_lowercase();
    matches!(name.as_str(), "transparent" | "inherit" | "none" | "currentcolor")
        || NAMES.split_whitespace().any(|known| known == name)
}

/// CSS Color 4, section 6.1.
const NAMES: &str = "aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown \
    burlywood cadetblue chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan darkgoldenrod \
    darkgray darkgreen darkgrey darkkhaki darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon darkseagreen \
    darkslateblue darkslategray darkslategrey darkturquoise darkviolet deeppink deepskyblue dimgray dimgrey dodgerblue \
    firebrick floralwhite forestgreen fuchsia gainsboro ghostwhite gold goldenrod gray green greenyellow grey honeydew \
    hotpink indianred indigo ivory khaki lavender lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan \
    lightgoldenrodyellow lightgray lightgreen lightgrey lightpink lightsalmon lightseagreen lightskyblue lightslategray \
    lightslategrey lightsteelblue lightyellow lime limegreen linen magenta maroon mediumaquamarine mediumblue mediumorchid \
    mediumpurple mediumseagreen mediumslateblue mediumspringgreen mediumturquoise mediumvioletred midnightblue mintcream \
    mistyrose moccasin navajowhite navy oldlace olive olivedrab orange orangered orchid palegoldenrod palegreen \
    paleturquoise palevioletred papayawhip peachpuff peru pink plum powderblue purple rebeccapurple red rosybrown royalblue \
    saddlebrown salmon sandybrown seagreen seashell sienna silver skyblue slateblue slategray slategrey snow springgreen \
    steelblue tan teal thistle tomato turquoise violet wheat white whitesmoke yellow yellowgreen";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn values(value: Value, right: &[&str], wrong: &[&str]) {
        for text in right {
            assert_eq!(value.check(text), Ok(()), "{value:?} {text:?}");
        }
        for text in wrong {
            assert!(value.check(text).is_err(), "{value:?} {text:?}");
        }
    }

    #[test]
    fn values_are_told_apart() {
        values(
            Value::Colour,
            &[
                "#fff",
                "#0B5C71",
                "rgb(1, 2, 3)",
                "rgba(1,2,3,.5)",
                "hsl(120deg 50% 50%)",
                "Teal",
                "transparent",
            ],
            &["#ff", "#0b5c7g", "0b5c71", "rgb(1,2)", "rgb(a,b,c)", "petrol", "", "#ffffff;"],
        );
        values(
            Value::Length,
            &["0", "12px", "50%", "33.3%"],
            &["12", "px", "12 px", "-1px", "1e3px", "auto", "12pt"],
        );
        values(Value::Pixels, &["600px"], &["600", "100%", "infpx", "NaNpx"]);
        values(
            Value::Sides,
            &["0", "12px 24px", "1px 2px 3px 4px"],
            &["", "12", "1px 2px 3px 4px 5px", "12px,4px"],
        );
        values(Value::LineHeight, &["1.5", "24px", "120%", "normal"], &["24 px", "big"]);
        values(Value::Spacing, &["-0.01em", "1px", "0"], &["1", "--1px"]);
        values(
            Value::Border,
            &["none", "1px solid #eee", "1px solid", "2px dashed rgb(1, 2, 3)"],
            &["1", "solid", "1px thick red"],
        );
        values(Value::Weight, &["700", "bold"], &["750", "heavy", "0"]);
        values(Value::Fixed, &["fixed-height"], &["fluid", "fluid-height"]);
        values(Value::FontSize, &["16px"], &["16", "0"]);
        values(Value::OneOf(&["a", "b"]), &["a"], &["c", "A"]);
        values(Value::Url, &["https://x.example/"], &["https://x.example/a b"]);
    }
}
