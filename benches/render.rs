//! Rendering one edition for its four tiers, with the shipped config, articles and templates.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use common::{Report, median, micros, rounds};
use tidings::app::Setup;
use tidings::mail::compose::Compiled;

fn main() -> ExitCode {
    let report = Report::new("render: the shipped edition, milliseconds");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let secret = ("TIDINGS_SECRET".to_owned(), "a secret of sixteen or more".to_owned());
    let env = BTreeMap::from([secret]);
    let config = root.join("config/tidings.toml");
    let load = || Setup::load(&config, &env, &[]).0.unwrap();
    let setup = load();
    let rounds = rounds(5);
    let milliseconds = |f: &mut dyn FnMut()| {
        let all: Vec<f64> = (0..rounds).map(|_| micros(200, &mut *f) / 1e3).collect();
        median(&all)
    };
    report.figure(
        "reading and checking config, articles, templates",
        milliseconds(&mut || drop(load())),
        "ms",
    );
    let content = &setup.content;
    let edition = &content.publication.editions[0];
    let frame = setup.edition_frame();
    let mut one = f64::NAN;
    for tier in &edition.tiers {
        one = milliseconds(&mut || drop(content.render(edition, tier, 1).unwrap()));
        report.figure(&format!("rendering {tier}"), one, "ms");
    }
    let all = milliseconds(&mut || {
        for tier in &edition.tiers {
            drop(content.render(edition, tier, 1).unwrap());
        }
    });
    report.figure("rendering all tiers", all, "ms");
    report.ratio("all tiers / the last one alone", all / one);
    let (body, _) = content.render(edition, &edition.tiers[0], 1).unwrap();
    let compiled = milliseconds(&mut || drop(Compiled::new(&frame, &body).unwrap()));
    report.figure("encoding the constant pieces of one body", compiled, "ms");
    report.finish()
}
