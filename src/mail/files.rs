//! Files of a message: what they are by their octets, and what may go on to somebody who must not learn who sent them.
//!
//! A picture is rebuilt without what cameras and programs write beside it: of a JPEG the APPn and COM segments go (but for the
//! colour transform and profile that it needs to look right), of a PNG the text, time and EXIF chunks, of a GIF its comments and foreign
//! extensions; what stands behind the end goes too. Calling cards, keys and signatures are dropped. Everything else cannot be
//! cleaned here: documents name their author in many places. Plain text has nothing beside its words; they are looked at like the
//! answer's own.

use super::html;
use super::mime;

/// More octets of files than this are not sent on in one answer.
pub const TOTAL_MAX: usize = 10 << 20;

/// A picture in the text of fewer octets may be the logo of a signature that nothing marks.
const LOGO_MAX: usize = 16 << 10;

/// A file with its octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub name: String,
    /// As its octets say; as the message says where they do not tell.
    pub media_type: String,
    pub octets: Vec<u8>,
    pub shown: Shown,
}

/// Where the HTML form of a message shows a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Nowhere,
    /// Only in a quote or a signature.
    Beside,
    Within,
}

/// What becomes of a file that a member of staff attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// It goes, with nothing in it but what one sees.
    Clean(File),
    /// It never goes, and nobody misses it.
    Dropped,
    /// Its words have to be looked at first.
    Text(File, String),
    /// Why it cannot go.
    Unclean(&'static str),
}

/// The files of a message in order.
pub fn read(raw: &[u8]) -> Vec<File> {
    let content = mime::read_whole(super::parse::without_mbox_line(raw));
    let pictures: Vec<(String, bool)> = content.html.iter().flat_map(|html| html::pictures(html)).collect();
    let shown = |id: &Option<String>| {
        let id = id.as_deref().map(str::to_lowercase);
        let places = pictures.iter().filter(|(shown, _)| Some(shown) == id.as_ref());
        places.fold(Shown::Nowhere, |seen, (_, beside)| match (seen, beside) {
            (Shown::Within, _) | (_, false) => Shown::Within,
            _ => Shown::Beside,
        })
    };
    let files = content.attachments.into_iter().zip(content.octets).map(|(file, octets)| File {
        media_type: sniffed(&octets).unwrap_or(&file.media_type).to_owned(),
        name: file.name,
        shown: shown(&file.content_id),
        octets,
    });
    files.collect()
}

/// What the first octets say, for the types that matter here.
pub fn sniffed(octets: &[u8]) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 12] = [
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"%PDF-", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"\x1f\x8b", "application/gzip"),
        (b"\xd0\xcf\x11\xe0", "application/x-ole-storage"),
        (b"MZ", "application/x-msdownload"),
        (b"\x7fELF", "application/x-executable"),
        (b"BEGIN:VCARD", "text/vcard"),
        (b"-----BEGIN PGP", "application/pgp-keys"),
    ];
    if octets.len() > 12 && octets.starts_with(b"RIFF") && &octets[8..12] == b"WEBP" {
        return Some("image/webp");
    }
    STARTS.iter().find(|(start, _)| octets.starts_with(start)).map(|(_, media_type)| *media_type)
}

/// Types that tell who somebody is.
const CARDS: [&str; 9] = [
    "text/vcard",
    "text/x-vcard",
    "text/directory",
    "application/pgp-keys",
    "application/pgp-signature",
    "application/pkcs7-signature",
    "application/x-pkcs7-signature",
    "application/pkcs7-mime",
    "application/x-x509-user-cert",
];
const CARD_NAMES: [&str; 8] = [".vcf", ".asc", ".gpg", ".p7s", ".p7m", ".p7c", ".cer", ".crt"];
const TEXT_NAMES: [&str; 12] =
    [".txt", ".csv", ".json", ".toml", ".yaml", ".yml", ".py", ".rs", ".sh", ".log", ".patch", ".diff"];

/// What may go on of a file. A picture of a quote or a signature is a logo, and a small one within the text may be one.
pub fn cleaned(file: &File) -> Cleaned {
    let name = file.name.to_lowercase();
    let card = CARDS.contains(&file.media_type.as_str()) || CARD_NAMES.iter().any(|end| name.ends_with(end));
    if card || file.shown == Shown::Beside || file.octets.is_empty() {
        return Cleaned::Dropped;
    }
    if file.shown == Shown::Within && file.octets.len() < LOGO_MAX {
        return Cleaned::Unclean("it is a small picture in the text, as logos are");
    }
    let picture = match file.media_type.as_str() {
        "image/jpeg" => Some(jpeg(&file.octets)),
        "image/png" => Some(png(&file.octets)),
        "image/gif" => Some(gif(&file.octets)),
        _ => None,
    };
    match picture {
        Some(Some(octets)) => return Cleaned::Clean(File { octets, name: plain_name(file), ..file.clone() }),
        Some(None) => return Cleaned::Unclean("it is damaged"),
        None => {}
    }
    let text = TEXT_NAMES.iter().any(|end| name.ends_with(end)) || file.media_type == "text/plain";
    match std::str::from_utf8(&file.octets) {
        Ok(words) if text && sniffed(&file.octets).is_none() => {
            let words = words.to_owned();
            Cleaned::Text(
                File { media_type: "text/plain".to_owned(), name: plain_name(file), ..file.clone() },
                words,
            )
        }
        _ => Cleaned::Unclean("what it holds beside its content cannot be taken out here"),
    }
}

/// A name of letters that every program and header takes, with the end that its type has.
fn plain_name(file: &File) -> String {
    let ends: &[&str] = match file.media_type.as_str() {
        "image/jpeg" => &[".jpg", ".jpeg"],
        "image/png" => &[".png"],
        "image/gif" => &[".gif"],
        _ => &[],
    };
    let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '-' };
    let name: String = file.name.chars().map(kept).take(80).collect();
    let name = name.trim_matches(['.', '-']).to_owned();
    let lower = name.to_lowercase();
    let right = ends.is_empty() || ends.iter().any(|end| lower.ends_with(end));
    match (name.is_empty(), right) {
        (true, _) => format!("file{}", ends.first().unwrap_or(&"")),
        (false, true) => name,
        (false, false) => format!("{name}{}", ends[0]),
    }
}

/// Segments up to the scan, then all to the end of the image (ITU T.81 annex B).
fn jpeg(octets: &[u8]) -> Option<Vec<u8>> {
    let mut out = octets.get(..2)?.to_vec();
    let mut at = 2;
    loop {
        if *octets.get(at)? != 0xff {
            return None;
        }
        let marker = *octets.get(at + 1)?;
        // Fill octets may stand before a marker.
        if marker == 0xff {
            at += 1;
            continue;
        }
        let length = usize::from(u16::from_be_bytes([*octets.get(at + 2)?, *octets.get(at + 3)?]));
        let segment = octets.get(at..at + 2 + length)?;
        let needed = match marker {
            0xe0 => segment.get(4..9) == Some(b"JFIF\0"),
            0xe2 => segment.get(4..16) == Some(b"ICC_PROFILE\0"),
            0xee => segment.get(4..9) == Some(b"Adobe"),
            0xe1..=0xef | 0xfe => false,
            _ => true,
        };
        if needed {
            // A thumbnail may follow the fourteen octets of JFIF.
            match marker {
                0xe0 => out.extend_from_slice(&jfif(segment)?),
                _ => out.extend_from_slice(segment),
            }
        }
        at += 2 + length;
        if marker == 0xda {
            break;
        }
    }
    // Scans may have segments between them, but nothing of people; the end is the last marker of it.
    let rest = &octets[at..];
    let end = end_of_image(rest)?;
    out.extend_from_slice(&rest[..end]);
    Some(out)
}

fn jfif(segment: &[u8]) -> Option<Vec<u8>> {
    let mut bare = segment.get(..18)?.to_vec();
    bare[2..4].copy_from_slice(&16_u16.to_be_bytes());
    bare[16..18].copy_from_slice(&[0, 0]);
    Some(bare)
}

/// Behind the first `ff d9` of entropy-coded octets; APPn and COM within scans are refused.
fn end_of_image(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            (0xff, 0xd9) => return Some(at + 2),
            (0xff, 0x00 | 0xd0..=0xd7 | 0xff) => at += if rest[at + 1] == 0xff { 1 } else { 2 },
            (0xff, 0xe0..=0xef | 0xfe) => return None,
            (0xff, _) => {
                let length = usize::from(u16::from_be_bytes([*rest.get(at + 2)?, *rest.get(at + 3)?]));
                at += 2 + length;
            }
            _ => at += 1,
        }
    }
    None
}

/// Chunks that a picture needs to look as it does (PNG third edition, section 11).
const PNG_KEPT: [&[u8; 4]; 14] = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"sBIT", b"sRGB", b"bKGD", b"pHYs",
    b"acTL", b"fcTL", b"fdAT",
];

fn png(octets: &[u8]) -> Option<Vec<u8>> {
    let mut out = octets.get(..8)?.to_vec();
    let mut at = 8;
    loop {
        let length = u32::from_be_bytes(octets.get(at..at + 4)?.try_into().ok()?);
        let end = at.checked_add(12)?.checked_add(usize::try_from(length).ok()?)?;
        let chunk = octets.get(at..end)?;
        let kind = &chunk[4..8];
        if PNG_KEPT.iter().any(|kept| kept.as_slice() == kind) {
            out.extend_from_slice(chunk);
        }
        if kind == b"IEND" {
            return Some(out);
        }
        at = end;
    }
}

/// Blocks up to the trailer (GIF89a sections 17 to 27). The looping extension stays, comments and others go.
fn gif(octets: &[u8]) -> Option<Vec<u8>> {
    let flags = *octets.get(10)?;
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut at = 13 + table(flags);
    let mut out = octets.get(..at)?.to_vec();
    loop {
        let (start, kept) = (at, octets.get(at)?);
        let keep = match kept {
            0x3b => {
                out.push(0x3b);
                return Some(out);
            }
            0x2c => {
                at += 11 + table(*octets.get(at + 9)?);
                true
            }
            0x21 => {
                let label = *octets.get(at + 1)?;
                let looping = label == 0xff && octets.get(at + 3..at + 14) == Some(b"NETSCAPE2.0");
                at += 2;
                label == 0xf9 || looping
            }
            _ => return None,
        };
        loop {
            let size = usize::from(*octets.get(at)?);
            at += 1 + size;
            if size == 0 {
                break;
            }
        }
        if keep {
            out.extend_from_slice(octets.get(start..at)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, media_type: &str, octets: &[u8]) -> File {
        File {
            name: name.into(),
            media_type: media_type.into(),
            octets: octets.to_vec(),
            shown: Shown::Nowhere,
        }
    }

    fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16 + 2).to_be_bytes();
        [&[0xff, marker], length.as_slice(), body].concat()
    }

    fn photo() -> Vec<u8> {
        [
            vec![0xff, 0xd8],
            segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\x01\x01THUMB"),
            segment(0xe1, b"Exif\0\0Mira Stein, 52.52 N"),
            segment(0xe2, b"ICC_PROFILE\0\x01\x01colours"),
            segment(0xfe, b"made by Mira"),
            segment(0xdb, b"table"),
            segment(0xda, b"scan"),
            b"pixels\xff\x00more\xff\xd0\xff\xd9".to_vec(),
            b"behind the end: Mira".to_vec(),
        ]
        .concat()
    }

    #[test]
    fn a_photo_loses_all_but_its_picture() {
        let clean = jpeg(&photo()).unwrap();
        let text = String::from_utf8_lossy(&clean);
        assert!(!text.contains("Mira") && !text.contains("Exif") && !text.contains("THUMB"), "{text}");
        assert!(
            text.contains("JFIF")
                && text.contains("colours")
                && text.contains("table")
                && text.contains("pixels")
        );
        assert!(clean.ends_with(&[0xff, 0xd9]));
        for cut in 0..photo().len() - 21 {
            assert_eq!(jpeg(&photo()[..cut]), None, "{cut}");
        }
    }

    fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes(), kind.as_slice(), body, b"crc4"].concat()
    }

    #[test]
    fn a_png_loses_its_texts() {
        let kept =
            [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", b"size"), chunk(b"IDAT", b"pixels")].concat();
        let end = chunk(b"IEND", b"");
        let texts = [
            chunk(b"tEXt", b"Author\0Mira"),
            chunk(b"iTXt", b"x"),
            chunk(b"eXIf", b"x"),
            chunk(b"tIME", b"x"),
        ]
        .concat();
        let whole = [kept.clone(), texts, end.clone(), b"behind".to_vec()].concat();
        assert_eq!(png(&whole), Some([kept, end].concat()));
        assert_eq!(png(&whole[..30]), None);
        assert_eq!(png(b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT"), None);
    }

    #[test]
    fn a_gif_loses_its_comments() {
        let head = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff".to_vec();
        let image = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0".to_vec();
        let comment = b"\x21\xfe\x04Mira\0".to_vec();
        let foreign = b"\x21\xff\x0bXMP DataXMP\x01x\0".to_vec();
        let whole = [head.clone(), comment, foreign, image.clone(), b"\x3b behind".to_vec()].concat();
        assert_eq!(gif(&whole), Some([head, image, b"\x3b".to_vec()].concat()));
        assert_eq!(gif(&whole[..25]), None);
    }

    #[test]
    fn each_kind_of_file_has_its_answer() {
        assert_eq!(cleaned(&file("m.vcf", "text/vcard", b"BEGIN:VCARD")), Cleaned::Dropped);
        assert_eq!(cleaned(&file("smime.p7s", "application/octet-stream", b"x")), Cleaned::Dropped);
        assert!(matches!(cleaned(&file("a.pdf", "application/pdf", b"%PDF-1.7")), Cleaned::Unclean(_)));
        assert!(
            matches!(cleaned(&file("a.txt", "text/plain", b"%PDF-1.7")), Cleaned::Unclean(_)),
            "it only says so"
        );
        assert!(matches!(cleaned(&file("a.png", "image/png", b"\x89PNG\r\n\x1a\n")), Cleaned::Unclean(_)));
        let Cleaned::Text(text, words) = cleaned(&file("../n o.log", "application/octet-stream", b"words"))
        else {
            panic!("a log is text")
        };
        assert_eq!(
            (text.name.as_str(), text.media_type.as_str(), words.as_str()),
            ("n-o.log", "text/plain", "words")
        );
        let picture = |shown, octets: &[u8]| cleaned(&File { shown, ..file("l.jpg", "image/jpeg", octets) });
        assert_eq!(picture(Shown::Beside, &photo()), Cleaned::Dropped);
        assert!(matches!(picture(Shown::Within, &photo()), Cleaned::Unclean(_)));
        let at = photo().len() - 24;
        let large = [&photo()[..at], &[7; LOGO_MAX], &photo()[at..]].concat();
        assert!(matches!(picture(Shown::Within, &large), Cleaned::Clean(_)));
        assert!(matches!(picture(Shown::Nowhere, &photo()), Cleaned::Clean(_)));
    }

    #[test]
    fn the_logo_of_a_signature_is_told_from_a_picture_of_the_text() {
        let raw = "From: m@x.example\nContent-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n\
            See <img src=\"cid:Shot@x\"><div id=Signature><img src='cid:logo@x'></div>\n--b\nContent-Type: image/png; name=s.png\n\
            Content-ID: <Shot@x>\n\n1\n--b\nContent-Type: image/png; name=l.png\nContent-ID: <logo@x>\n\n2\n--b\n\
            Content-Type: image/png; name=a.png\n\n3\n--b--\n";
        let shown: Vec<Shown> = read(raw.as_bytes()).iter().map(|file| file.shown).collect();
        assert_eq!(shown, [Shown::Within, Shown::Beside, Shown::Nowhere]);
    }
}
