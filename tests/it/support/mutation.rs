//! Messages with random changes, the same ones in every run.

/// A small generator of one's own.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides.max(1)
    }
}

/// One to six changes: an octet, up to `cut` octets taken out, one of `pieces` put in, up to `copied` octets said twice, the end
/// cut off.
pub fn mutated(dice: &mut Dice, raw: &[u8], pieces: &[&[u8]], (cut, copied): (usize, usize)) -> Vec<u8> {
    let mut raw = raw.to_vec();
    for _ in 0..1 + dice.roll(6) {
        if raw.is_empty() {
            break;
        }
        let at = dice.roll(raw.len());
        match dice.roll(5) {
            0 => raw[at] = dice.roll(256) as u8,
            1 => {
                let to = (at + dice.roll(cut)).min(raw.len());
                raw.drain(at..to);
            }
            2 => {
                let piece = pieces[dice.roll(pieces.len())];
                raw.splice(at..at, piece.iter().copied());
            }
            3 => {
                let to = (at + dice.roll(copied)).min(raw.len());
                let copy = raw[at..to].to_vec();
                let into = dice.roll(raw.len());
                raw.splice(into..into, copy);
            }
            _ => raw.truncate(at.max(1)),
        }
    }
    raw
}
