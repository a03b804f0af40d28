//! A paid word never reaches an unentitled person, and a gate that is not quite one is an error.

use proptest::prelude::*;
use tidings::domain::body::Piece;
use tidings::render::{Article, TemplateSet};

use crate::render_support::{
    TIERS, article, body, filled, found, publication, render, render_with, shipped, with,
};

/// Marker words in every place that Markdown has, all inside of one gate.
fn gated(tier: &str) -> String {
    let word = |place: &str| format!("zq{place}{tier}zq");
    let (heading, link, shown, definition, alt, note, cell, code) = (
        word("heading"),
        word("link"),
        word("shown"),
        word("definition"),
        word("alt"),
        word("note"),
        word("cell"),
        word("code"),
    );
    format!(
        "<!-- only: {tier} -->\n\n## {heading}\n\n[{shown}](https://{link}.example/) and [again][ref{tier}] and a note[^n{tier}].\n\n\
         ![{alt}](https://pictures.example/{alt}.png)\n\n| {cell} | b |\n|---|---|\n| {cell} | 1 |\n\n```python {code}.py\n{code} = 1\n```\n\n\
         <b title=\"x\">{shown}</b>\n\n[ref{tier}]: https://{definition}.example/ \"{definition}\"\n\n[^n{tier}]: {note}\n\n<!-- /only -->\n"
    )
}

fn everything(article: &Article, tier: &str) -> String {
    let rendered = render(std::slice::from_ref(article), tier).unwrap();
    let pieces = serde_json::to_string(&rendered.body).unwrap();
    filled(&rendered.body).join("\n") + &pieces
}

#[test]
fn each_tier_gets_its_own_words_and_no_others() {
    let parts: Vec<String> = TIERS.iter().map(|tier| gated(tier)).collect();
    let article =
        article(&format!("Public words.\n\n{}\n\nMore public words.\n", parts.join("\nBetween.\n\n")))
            .unwrap();
    for reader in TIERS {
        let all = everything(&article, reader);
        for owner in TIERS {
            for place in ["heading", "link", "shown", "definition", "alt", "note", "cell", "code"] {
                let word = format!("zq{place}{owner}zq");
                assert_eq!(all.contains(&word), reader == owner, "{word} for {reader}");
            }
            assert!(!all.contains(&format!("ref{owner}")), "a raw reference is left for {reader}");
        }
        assert!(all.contains("More public words."));
    }
}

#[test]
fn a_teaser_ends_at_more() {
    let body = format!(
        "Free.\n\n{}\n\n<!-- more -->\n\n## Zqsecret\n\n[x][d] {}\n\n[d]: https://zqsecret.example\n\n{}",
        gated("free"),
        "zqsecret",
        gated("yearly")
    );
    let article = article(&body).unwrap();
    let free = everything(&article, "free");
    assert!(!free.to_lowercase().contains("zqsecret") && !free.contains("yearlyzq"), "{free}");
    assert!(free.contains("zqheadingfreezq") && free.contains("The rest is for members"));
    let yearly = everything(&article, "yearly");
    assert!(
        yearly.contains("zqsecret") && yearly.contains("zqheadingyearlyzq") && !yearly.contains("freezq")
    );
    assert!(yearly.contains("For yearly members") && !yearly.contains("The rest is for members"));
    let monthly = everything(&article, "monthly");
    assert!(monthly.contains("zqsecret") && !monthly.contains("yearlyzq"));
}

#[test]
fn gates_may_touch_each_other() {
    let body = "a\n<!-- only: yearly -->\nfirst\n<!-- /only -->\n<!-- only: monthly -->\nsecond\n<!-- /only -->\n<!-- more -->\nrest\n";
    let article = article(body).unwrap();
    assert_eq!(article_text(&article, "free"), "a");
    assert_eq!(article_text(&article, "yearly"), "a\n\n| For yearly members\n| first\n\nrest");
    assert_eq!(article_text(&article, "monthly"), "a\n\n| For monthly members\n| second\n\nrest");
    assert_eq!(article_text(&article, "lifetime"), "a\n\nrest");
}

#[test]
fn definitions_outside_of_a_gate_work_inside() {
    let body = "See[^n].\n\n<!-- only: yearly -->\n\n[in][d], again[^n].\n\n<!-- /only -->\n\n[d]: https://public.example/\n\n[^n]: A note.\n";
    let article = article(body).unwrap();
    assert!(everything(&article, "yearly").contains("https://public.example/"));
    assert!(everything(&article, "free").contains("A note."));
}

#[test]
fn definitions_inside_of_a_gate_do_not_work_outside() {
    let body = "[out][d]\n\n<!-- only: yearly -->\n\n[d]: https://gated.example/\n\n<!-- /only -->\n";
    let problems = article(body).unwrap_err();
    assert_eq!((problems[0].line, problems[0].column), (6, 1), "{problems:?}");
    let body = "Out[^n].\n\n<!-- only: yearly -->\n\n[^n]: Gated.\n\n<!-- /only -->\n";
    let problems = article(body).unwrap_err();
    assert_eq!((problems[0].line, problems[0].column), (6, 4), "{problems:?}");
}

#[track_caller]
fn refused(body: &str, line: usize, column: usize) {
    let problems = article(body).expect_err(body);
    let found: Vec<(usize, usize)> =
        problems.iter().filter(|p| p.is_error()).map(|p| (p.line, p.column)).collect();
    assert!(found.contains(&(line, column)), "{body:?}: {problems:#?}");
    assert!(
        problems
            .iter()
            .all(|p| p.file == "config/articles/a.md" && !p.problem.is_empty() && !p.key.is_empty())
    );
}

/// Lines count from 6, where the body starts.
#[test]
fn bad_gates_are_errors_at_their_place() {
    // Structure.
    refused("a\n\n<!-- only: yearly -->\n\nsecret\n", 8, 1);
    refused("a\n\n<!-- /only -->\n", 8, 1);
    refused(
        "<!-- only: yearly -->\n\n<!-- only: monthly -->\n\nx\n\n<!-- /only -->\n\n<!-- /only -->\n",
        8,
        1,
    );
    refused("<!-- only: yearly -->\n\na\n\n<!-- more -->\n\nb\n\n<!-- /only -->\n", 10, 1);
    refused("a\n\n<!-- more -->\n\nb\n\n<!-- more -->\n", 12, 1);
    // Tiers.
    refused("<!-- only: yearly, gold -->\n\na\n\n<!-- /only -->\n", 6, 20);
    refused("<!-- only: -->\n\na\n\n<!-- /only -->\n", 6, 1);
    refused("<!-- only: yearly,, lifetime -->\n\na\n\n<!-- /only -->\n", 6, 1);
    refused("<!-- only: yearly lifetime -->\n\na\n\n<!-- /only -->\n", 6, 1);
    // Spelling.
    for gate in [
        "<!--more-->",
        "<!-- More -->",
        "<!-- MORE -->",
        "<!--  more -->",
        "<!-- more-->",
        "<!-- more --> x",
        "<!-- more: -->",
        "<!-- more of this -->",
        "<!-- only yearly -->",
        "<!--only: yearly-->",
        "<!-- Only: yearly -->",
        "<!-- only : yearly -->",
        "<!-- onyl: yearly -->",
        "<!-- ony: yearly -->",
        "<!-- members: yearly -->",
        "<!-- /Only -->",
        "<!-- / only -->",
        "<!--/only-->",
        "<!-- /onyl -->",
        "<!-- /more -->",
        "<!--- more --->",
        "<!-- more",
        "<!-- only: yearly",
        "<!- more -->",
        "<!-\u{2014} more \u{2014}->",
        "<! -- more -->",
        "< !-- only: yearly -->",
        "<-- only: yearly -->",
        "<!-- mroe -->",
        "<!-- more\n-->",
        "<!--\nonly: yearly\n-->",
        "<!-- onlyyearly -->",
        "<!---->\n<!--/ONLY-->",
    ] {
        let line = if gate.starts_with("<!---->") { 9 } else { 8 };
        refused(&format!("a\n\n{gate}\n\nb\n"), line, 1);
    }
    // Place.
    refused("words <!-- more --> words\n", 6, 7);
    refused("words\n<!-- more --> words\n", 7, 1);
    refused(" <!-- more -->\n", 6, 2);
    refused("    <!-- more -->\n", 6, 5);
    refused("- item\n\n  <!-- more -->\n", 8, 3);
    refused("- <!-- more -->\n", 6, 3);
    refused("> <!-- more -->\n", 6, 3);
    refused("<div>\n<!-- only: yearly -->\n</div>\n", 7, 1);
    refused("<!-- a note\n<!-- more -->\n", 7, 1);
    refused("| a | b |\n|---|---|\n| <!-- more --> | c |\n", 8, 3);
    refused("## <!-- more -->\n", 6, 4);
    refused("[^n]: a\n    <!-- more -->\n\nx[^n]\n", 7, 5);
}

#[test]
fn a_forgotten_fence_does_not_open_a_gate() {
    refused("```\ncode\n\n<!-- only: yearly -->\n\nsecret\n\n<!-- /only -->\n", 9, 1);
    refused("```\ncode\n\n<!-- only: yearly -->\n\nsecret\n\n<!-- /only -->\n\n```python\nx\n```\n", 9, 1);
    refused("```\ncode\n\n<!-- only: yearly -->\n\nsecret\n\n<!-- /only -->\n\n```\nx\n```\n", 9, 1);
}

#[test]
fn a_gate_in_code_is_text() {
    let article =
        article("Write `<!-- more -->`:\n\n```\n<!-- only: yearly -->\nshown\n<!-- /only -->\n```\n")
            .unwrap();
    let free = article_text(&article, "free");
    assert!(
        free.contains("<!-- only: yearly -->") && free.contains("shown") && free.contains("`<!-- more -->`")
    );
}

fn article_text(article: &Article, tier: &str) -> String {
    article.for_tier(publication().tier(&tier.into()).unwrap()).text
}

#[test]
fn other_comments_are_no_gates_and_do_not_show() {
    let article = article("a\n\n<!-- TODO: check the numbers -->\n\nb <!-- really? --> c\n").unwrap();
    assert!(
        !everything(&article, "free").contains("TODO") && !everything(&article, "free").contains("really")
    );
}

#[test]
fn the_shipped_articles_and_templates_go_together() {
    let publication = publication();
    let load = |id: &str| {
        let path = format!("{}/config/articles/{id}.md", env!("CARGO_MANIFEST_DIR"));
        let (article, warnings) = Article::load(std::path::Path::new(&path), &publication).unwrap();
        assert!(warnings.is_empty(), "{warnings:#?}");
        article
    };
    for id in ["small-model-evaluation", "drift-checks", "calibrated-confidence"] {
        for tier in TIERS {
            let rendered = render(&[load(id)], tier).unwrap();
            assert!(rendered.warnings.is_empty(), "{id}: {:#?}", rendered.warnings);
        }
    }
    assert!(load("calibrated-confidence").extra);
    assert_eq!(load("drift-checks").status, tidings::render::Status::Published);
    let articles = [load("model-compression"), load("federated-learning")];
    assert_eq!(articles[1].media.len(), 1);
    for tier in TIERS {
        let rendered = render(&articles, tier).unwrap();
        assert!(rendered.warnings.is_empty(), "{:#?}", rendered.warnings);
        let [subject, html, text] = filled(&rendered.body);
        assert_eq!(subject, articles[0].title);
        let paid = matches!(tier, "yearly" | "lifetime");
        assert_eq!((html.contains("MNIST"), text.contains("MNIST")), (paid, paid));
        assert_eq!(html.contains("Just reply"), tier != "free");
        let refunds = if tier == "free" { 2 } else { 0 };
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [&html, &words] {
            assert_eq!(part.matches("; your money back within 10 days").count(), refunds, "{part}");
        }
        assert!(html.contains(&format!("https://news.example.org/media/{}", articles[1].media[0].name)));
        assert!(!html.contains("googleapis") && !html.contains("{{") && !html.contains("<mj-"), "{tier}");
        assert!(text.lines().all(|line| line.chars().count() <= 72 || line.contains("https://")), "{text}");
    }
}

#[test]
fn links_and_pictures_are_checked() {
    let parse = |body: &str| {
        let text = format!("+++\ntitle = \"a\"\nstatus = \"ready\"\n+++\n{body}");
        let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/articles"));
        Article::parse("a.md", &text, folder, &publication())
    };
    let warned = |body: &str, words: &str| {
        let (article, warnings) = parse(body).unwrap();
        assert!(warnings.iter().any(|p| p.problem.contains(words) && p.line == 5), "{warnings:#?}");
        article_text(&article, "free")
    };
    assert_eq!(warned("[x](javascript:alert(1))\n", "javascript"), "x");
    assert_eq!(warned("[x](JaVa%0ascript:alert(1))\n", "leads nowhere"), "x");
    assert_eq!(warned("[x](other.md)\n", "leads nowhere"), "x");
    assert_eq!(warned("[x](http://a.example)\n", "not encrypted"), "x (http://a.example)");
    warned("![](media/federated-round.png)\n", "alternative text");
    let (article, _) = parse("[x](/archive/a)\n").unwrap();
    assert_eq!(article_text(&article, "free"), "x (https://news.example.org/archive/a)");
    for (body, words) in [
        ("words ![x](media/none.png)\n", "cannot be read"),
        ("words ![x](../../Cargo.toml)\n", "leaves the folder"),
        ("words ![x](/etc/passwd)\n", "leaves the folder"),
        ("words ![x](model-compression.md)\n", "not shown"),
        ("words ![x](data:image/png;base64,AA)\n", "cannot show"),
    ] {
        let problems = parse(body).unwrap_err();
        assert!(problems[0].problem.contains(words) || words == "cannot show", "{problems:#?}");
        assert_eq!((problems[0].line, problems[0].column), (5, 7));
    }
}

#[test]
fn the_front_matter_may_deny_an_article_to_a_tier() {
    let text = "+++\ntitle = \"Zqpaid\"\ntiers = [\"yearly\"]\nopen = true\n+++\nwords\n";
    let (paid, _) = Article::parse("a.md", text, std::path::Path::new("."), &publication()).unwrap();
    let open = article("Free words.\n").unwrap();
    let articles = [paid, open];
    assert!(!filled(&render(&articles, "free").unwrap().body).concat().contains("Zqpaid"));
    assert_eq!(filled(&render(&articles, "yearly").unwrap().body)[0], "Zqpaid");
    assert!(render(&articles[..1], "free").is_err());
}

#[test]
fn a_mail_that_would_be_cut_off_is_not_rendered() {
    let words = |n: usize| article(&"many words of text\n".repeat(n)).unwrap();
    let warned = render(&[words(4000)], "yearly").unwrap();
    assert!(warned.warnings.iter().any(|p| p.key == "size"), "{:?}", warned.warnings);
    let problems = render(&[words(5000)], "yearly").unwrap_err();
    assert_eq!(problems[0].key, "size");
}

// --- templates ---

#[test]
fn single_files_are_overridden() {
    let files = [
        ("weekly/subject.hbs", "All: {{edition.subject}}"),
        ("tiers/yearly/weekly/subject.hbs", "Y {{edition.number}}"),
    ];
    let set = with(&files).unwrap();
    let articles = [article("x\n").unwrap()];
    let subject = |tier: &str| filled(&render_with(&set, &articles, tier).unwrap().body)[0].clone();
    assert_eq!((subject("free"), subject("yearly")), ("All: A title".to_owned(), "Y 7".to_owned()));
    template_refused(
        &[("tiers/gold/weekly/subject.hbs", "x")],
        "templates/tiers/gold/weekly/subject.hbs",
        0,
        0,
        "nothing uses",
    );
    template_refused(&[("weekly/body.html", "x")], "templates/weekly/body.html", 0, 0, "nothing uses");
    template_refused(&[("extra/subject.hbs", "x")], "extra/body.mjml", 0, 0, "has no body.mjml");
    template_refused(
        &[("weekly/subject.hbs", "a\nb\n")],
        "templates/weekly/subject.hbs",
        1,
        2,
        "more than one line",
    );
}

#[test]
fn a_folder_overrides_shipped_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("weekly")).unwrap();
    std::fs::write(folder.path().join("weekly/subject.hbs"), "Folder\r\n").unwrap();
    std::fs::write(folder.path().join(".hidden"), "x").unwrap();
    let tiers = publication().tier_ids();
    let set = TemplateSet::load(folder.path(), &tiers).unwrap();
    assert_eq!(set.kinds().collect::<Vec<_>>(), ["weekly"]);
    assert_eq!(filled(&render_with(&set, &[article("x\n").unwrap()], "free").unwrap().body)[0], "Folder");
    std::fs::write(folder.path().join("weekly/body.mjml"), "<mjml>\n<mj-body></mjml>").unwrap();
    let problems = TemplateSet::load(folder.path(), &tiers).unwrap_err();
    assert_eq!((problems.len(), problems[0].line, problems[0].column), (1, 2, 1), "{problems:#?}");
    assert!(problems[0].file.ends_with("weekly/body.mjml"));
    assert!(TemplateSet::load(&folder.path().join("none"), &tiers).is_err());
}

#[test]
fn a_missing_article_is_named_with_its_place() {
    let set = with(&[("weekly/subject.hbs", "{{subscriber.name}} {{articles.1.title}}")]).unwrap();
    let problems = render_with(&set, &[article("x\n").unwrap()], "yearly").unwrap_err();
    let found = &problems[0];
    assert_eq!(
        (found.file.as_str(), found.line, found.column),
        ("templates/weekly/subject.hbs", 1, 21),
        "{found}"
    );
}

/// mrml copies the title into an attribute; a hole in it comes out twice, each time in its context.
#[test]
fn a_hole_in_the_title_is_filled_twice() {
    let inner = "<mj-text>{{links.unsubscribe}} {{publication.postal_address}}</mj-text>";
    let text = body(inner)
        .replace("<mj-body>", "<mj-head><mj-title>For {{subscriber.name}}</mj-title></mj-head><mj-body>");
    let set = with(&[
        ("weekly/body.mjml", &text),
        ("weekly/subject.hbs", "{{#if subscriber.name}}{{subscriber.name}}: {{/if}}x"),
    ])
    .unwrap();
    let rendered = render_with(&set, &[article("x\n").unwrap()], "yearly").unwrap();
    let [subject, html, _] = filled(&rendered.body);
    assert_eq!(subject, "Jonas Brandt: x");
    assert_eq!(html.matches("For Jonas Brandt").count(), 2, "{html}");
}

#[track_caller]
fn template_refused(files: &[(&str, &str)], file: &str, line: usize, column: usize, words: &str) {
    let problems = with(files).expect_err("the set is wrong");
    found(&problems, (file, line, column), words);
}

#[track_caller]
fn inner_refused(inner: &str, line: usize, column: usize, words: &str) {
    template_refused(
        &[("weekly/body.mjml", &body(inner))],
        "templates/weekly/body.mjml",
        line,
        column,
        words,
    );
}

#[test]
fn unknown_fields_are_named_with_their_place() {
    inner_refused("<mj-text>{{publication.nmae}}</mj-text>", 4, 12, "publication.nmae");
    inner_refused("<mj-text>{{#if publication.nmae}}x{{/if}}</mj-text>", 4, 16, "publication.nmae");
    inner_refused("<mj-text>{{#each articles}}{{titel}}{{/each}}</mj-text>", 4, 30, "titel");
    inner_refused(
        "<mj-text>{{#each articles}}{{publication.name}}{{/each}}</mj-text>",
        4,
        30,
        "publication.name",
    );
    inner_refused("<mj-text>{{#if (eq tier.idd 1)}}x{{/if}}</mj-text>", 4, 20, "tier.idd");
    inner_refused("<mj-text>{{articles}}</mj-text>", 4, 12, "articles");
    inner_refused("<mj-text>{{@index}}</mj-text>", 4, 12, "@index");
    inner_refused("<mj-text>{{{articles.0.title}}}</mj-text>", 4, 13, "no HTML");
    inner_refused("<mj-text>{{articles.0.html}}</mj-text>", 4, 12, "three braces");
    inner_refused("<mj-text>\n{{> nothing}}</mj-text>", 5, 1, "no partial");
    let text = "{{#each articles}}\n{{title}} {{../publication.name}} {{@index}} {{this.title}} {{@root.tier.id}}\n{{/each}}\n\
                {{links.unsubscribe}} {{publication.postal_address}}\n";
    let set = with(&[("weekly/body.txt.hbs", text)]).unwrap();
    let article = article("words\n").unwrap();
    let rendered = render_with(&set, &[article], "yearly").unwrap();
    assert!(filled(&rendered.body)[2].starts_with("A title Example News 0 A title yearly\n"));
}

#[test]
fn holes_stand_only_where_they_may() {
    inner_refused("{{subscriber.name}}", 4, 1, "between elements");
    inner_refused("{{#if subscriber.name}}<mj-text>x</mj-text>{{/if}}", 4, 1, "outside of text");
    inner_refused("<mj-text>{{#if (eq subscriber.name \"x\")}}x{{/if}}</mj-text>", 4, 20, "subscriber.name");
    inner_refused("<mj-text>{{{subscriber.name}}}</mj-text>", 4, 13, "subscriber.name");
    inner_refused("<mj-text>{{#if links.view}}x{{/if}}</mj-text>", 4, 16, "links.view");
    inner_refused("<mj-text>{{#each links}}x{{/each}}</mj-text>", 4, 18, "links");
    inner_refused("<mj-text>{{#each articles}}{{../links.view}}{{/each}}</mj-text>", 4, 30, "links.view");
    inner_refused("<mj-text>{{@root.subscriber.name}}</mj-text>", 4, 12, "subscriber.name");
    inner_refused("<mj-text>{{subscriber.nmae}}</mj-text>", 4, 12, "subscriber.nmae");
    inner_refused("<mj-text>{{~subscriber.name}}</mj-text>", 4, 13, "subscriber.name");
    inner_refused("<mj-text>{{> bar x=subscriber.name}}</mj-text>", 4, 10, "parameters");
    inner_refused(
        "<mj-text>{{#if subscriber.name}}<b>{{else}}</b>{{/if}}</mj-text>",
        4,
        36,
        "opens or closes",
    );
    inner_refused("<mj-text>{{#if subscriber.name}}{{#if tier.id}}{{/if}}</mj-text>", 4, 10, "never closed");
    let subject = ("weekly/subject.hbs", "{{wrap subscriber.name}}\n");
    template_refused(&[subject], "templates/weekly/subject.hbs", 1, 8, "subscriber.name");
}

#[test]
fn places_that_only_show_after_rendering_are_refused_too() {
    for (inner, words) in [
        ("<a href=\"{{subscriber.name}}\">x</a>", "start an address"),
        ("<a href=\"https://{{subscriber.name}}/\">x</a>", "host"),
        ("<a href=\"https://x.example/{{links.view}}\">x</a>", "whole address"),
        ("<b style=\"color:{{subscriber.name}}\">x</b>", "style"),
    ] {
        let text = body(&format!(
            "<mj-text>{inner} {{{{links.unsubscribe}}}} {{{{publication.postal_address}}}}</mj-text>"
        ));
        let set = with(&[("weekly/body.mjml", &text)]).unwrap();
        let problems = render_with(&set, &[article("x\n").unwrap()], "yearly").unwrap_err();
        assert!(problems[0].problem.contains(words) && problems[0].line == 4, "{problems:#?}");
        assert_eq!(problems[0].file, "templates/weekly/body.mjml");
    }
}

#[test]
fn markup_is_checked_with_its_place() {
    inner_refused("<mj-text>words", 4, 1, "<mj-text> is never closed");
    inner_refused("<mj-text>a < b</mj-text>", 4, 12, "starts no tag");
    inner_refused("<mj-txt>a</mj-txt>", 4, 1, "no element <mj-txt>");
    inner_refused("</mj-text>", 4, 1, "closes nothing");
    inner_refused("<mj-text>{{title</mj-text>", 4, 10, "never ends");
    inner_refused("<mj-text {{tier.id}}>a</mj-text>", 4, 10, "between the attributes");
    inner_refused("<mj-text>{{#if tier.id}}x{{/each}}</mj-text>", 4, 26, "closes");
}

#[test]
fn partials_that_include_each_other_are_found() {
    let files = [
        ("weekly/body.mjml", body("<mj-text>{{> a}}</mj-text>")),
        ("partials/a.mjml", "x\n{{> b}}".to_owned()),
        ("partials/b.mjml", "y {{> a}}".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    template_refused(&files, "templates/partials/b.mjml", 1, 3, "include each other");
    template_refused(
        &[("partials/masthead.mjml", "{{> masthead}}")],
        "templates/partials/masthead.mjml",
        1,
        1,
        "include each other",
    );
}

#[test]
fn w22_w45_a_way_out_and_an_address_are_needed() {
    let text = body("<mj-text>{{#if subscriber.name}}{{links.unsubscribe}}{{/if}}</mj-text>");
    let set = with(&[("weekly/body.mjml", &text)]).unwrap();
    let problems = render_with(&set, &[article("x\n").unwrap()], "yearly").unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(keys, ["links.unsubscribe", "publication.postal_address"], "{problems:#?}");
}

#[test]
fn w160_w163_nothing_deceives() {
    let keys = |body_text: &str, title: &str| {
        let set = with(&[("weekly/body.mjml", body_text)]).unwrap();
        let text = format!("+++\ntitle = \"{title}\"\nstatus = \"ready\"\n+++\nwords\n");
        let (article, _) = Article::parse("a.md", &text, std::path::Path::new("."), &publication()).unwrap();
        let rendered = render_with(&set, &[article], "yearly").unwrap();
        rendered.warnings.iter().map(|problem| problem.key.clone()).collect::<Vec<_>>()
    };
    let needed = "<mj-text>{{links.unsubscribe}} {{publication.postal_address}}</mj-text>";
    let hidden = "<mj-raw><div style=\"Display: none\">a</div><p style=\"visibility:hidden\">b</p></mj-raw>";
    assert_eq!(keys(&body(needed), "Four results"), [""; 0]);
    assert_eq!(keys(&body(needed), "Re: your question"), ["subject"]);
    assert_eq!(keys(&body(&format!("{needed}{hidden}")), "Four results"), ["hidden"]);
}

#[test]
fn hostile_words_stay_words() {
    let evil = "</mj-text><mj-raw><script>alert(1)</script> {{links.unsubscribe}} \\\"'& \\u0001";
    let text = format!(
        "+++\ntitle = '''</mj-text><mj-raw><script> {{{{links.unsubscribe}}}} {{{{{{'''\nsummary = \"{evil}x\"\nauthor = \"<b>\"\nstatus = \"ready\"\n+++\n\
         {{{{links.unsubscribe}}}} {{{{#if subscriber.name}}}} </mj-text> <script>alert(2)</script><iframe src=x></iframe>\n\n<style>p {{}}</style>\n\n`</mj-text>`\n"
    );
    let folder = std::path::Path::new(".");
    assert!(
        Article::parse("a.md", &text, folder, &publication()).is_err(),
        "a control character in the summary"
    );
    let text = text.replace("\\u0001", "");
    let (article, _) = Article::parse("a.md", &text, folder, &publication()).unwrap();
    let rendered = render(&[article], "yearly").unwrap();
    let [subject, html, plain] = filled(&rendered.body);
    assert_eq!(subject, "</mj-text><mj-raw><script> {{links.unsubscribe}} {{{");
    assert!(!html.contains("<script") && !html.contains("<iframe") && !html.contains("</mj-"), "{html}");
    assert!(html.contains("{{links.unsubscribe}}") && html.contains("{{#if subscriber.name}}"));
    assert!(html.contains("&lt;/mj-text&gt;&lt;mj-raw&gt;&lt;script&gt;"));
    assert!(plain.contains("{{links.unsubscribe}} {{#if subscriber.name}}"));
    let holes = |pieces: &[Piece]| pieces.iter().filter(|p| matches!(p, Piece::Hole { .. })).count();
    let plain_article = crate::render_support::article("x\n").unwrap();
    let usual = render(&[plain_article], "yearly").unwrap();
    assert_eq!(holes(&rendered.body.html), holes(&usual.body.html));
}

#[test]
fn the_same_input_gives_the_same_body() {
    let article = article("Words.\n\n<!-- more -->\n\nMore words.\n").unwrap();
    for tier in TIERS {
        let once = render(std::slice::from_ref(&article), tier).unwrap().body;
        assert_eq!(once, render(std::slice::from_ref(&article), tier).unwrap().body);
    }
}

/// Lines that open or close something in Markdown.
const FRAGMENTS: &[&str] = &[
    "",
    "",
    "words",
    "```",
    "```py",
    "````",
    "~~~",
    "- item",
    "  - inner",
    "1. one",
    "> quote",
    "<div>",
    "</div>",
    "<pre>",
    "</pre>",
    "<script>",
    "</script>",
    "<!--",
    "-->",
    "<!-- note -->",
    "    code",
    "\tcode",
    "| a | b |",
    "|---|---|",
    "[^n]: note",
    "[x]: <",
    "[x]: /url '",
    "'",
    "`",
    "``",
    "***",
    "# head",
    "===",
    "---",
    "<![CDATA[",
    "]]>",
    "<?",
    "?>",
    "<a href='",
    "<textarea>",
    "+++",
    "\\",
    "    <!-- note",
    "- ```",
    "> ```",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever surrounds a gated part: it is refused, or it stays hidden, or the gate itself is shown as code.
    #[test]
    fn a_gated_word_stays_hidden_in_any_surroundings(
        before in prop::collection::vec(0..FRAGMENTS.len(), 0..6),
        inside in prop::collection::vec(0..FRAGMENTS.len(), 0..4),
        after in prop::collection::vec(0..FRAGMENTS.len(), 0..6),
    ) {
        let lines = |picked: Vec<usize>| picked.into_iter().map(|at| FRAGMENTS[at]).collect::<Vec<_>>().join("\n");
        let body = format!(
            "{}\n<!-- only: yearly -->\n{}\nzqsecret [zqsecret] `zqsecret`\n<!-- /only -->\n{}\n",
            lines(before), lines(inside), lines(after)
        );
        if let Ok(article) = article(&body) {
            let free = article.for_tier(publication().tier(&"free".into()).unwrap());
            let hidden = !free.html.contains("zqsecret") && !free.text.contains("zqsecret");
            prop_assert!(hidden || free.text.contains("<!-- only: yearly -->"), "{body}");
        }
    }

    /// Any text in a fenced block comes out in the text part as it went in, and nothing of it becomes a hole.
    #[test]
    fn arbitrary_code_survives(lines in prop::collection::vec("[ -~\u{a0}-\u{ff}\u{2028}\u{1f600}]{0,40}", 1..6)) {
        let code = lines.join("\n").replace('`', "'").replace('~', "-");
        let article = article(&format!("Words.\n\n```\n{code}\n```\n"));
        prop_assume!(article.is_ok());
        let article = article.unwrap();
        let set = shipped();
        let rendered = render_with(&set, &[article], "yearly").unwrap();
        let [_, _, text] = filled(&rendered.body);
        for line in code.lines().filter(|line| !line.trim().is_empty()) {
            prop_assert!(text.contains(&format!("    {}", line)), "{line:?} in {text}");
        }
    }

    /// Any Markdown renders for every tier, and leaves as many holes as any other.
    #[test]
    fn arbitrary_markdown_renders(body in "(\\PC|\n|[<>{}\\[\\]!#*`|_&-]){0,200}") {
        let Ok(article) = article(&body) else { return Ok(()) };
        let set = shipped();
        for tier in TIERS {
            let rendered = render_with(&set, std::slice::from_ref(&article), tier);
            prop_assert!(rendered.is_ok(), "{rendered:?}");
        }
    }

    /// Any title stays text in subject and HTML.
    #[test]
    fn arbitrary_titles_stay_text(title in "\\PC{1,60}") {
        prop_assume!(!title.trim().is_empty());
        let front = format!("+++\ntitle = {}\nopen = true\n+++\nx\n", toml::Value::String(title.clone()));
        let parsed = Article::parse("a.md", &front, std::path::Path::new("."), &publication());
        prop_assume!(parsed.is_ok());
        let rendered = render(&[parsed.unwrap().0], "free").unwrap();
        let [subject, html, _] = filled(&rendered.body);
        prop_assert_eq!(subject, title.trim());
        let mut escaped = String::new();
        tidings::domain::body::escape_html(title.trim(), &mut escaped);
        prop_assert!(html.contains(&escaped));
    }
}

/// The likeliest mistake: the one gate that was forgotten.
#[test]
fn an_article_without_more_is_not_given_whole_to_a_teaser_tier() {
    let publication = publication();
    let parse = |front: &str| {
        let text = format!("+++\ntitle = \"a\"\n{front}+++\nEverything, paid parts included.\n");
        Article::parse("a.md", &text, std::path::Path::new("."), &publication).unwrap().0
    };
    let render = |article: Article, tier: &str| {
        let articles = [article];
        let input = crate::render_support::edition(&publication, &articles);
        tidings::render::render_edition(&shipped(), &input, publication.tier(&tier.into()).unwrap()).map(drop)
    };
    let problems = render(parse(""), "free").unwrap_err();
    assert_eq!((problems[0].file.as_str(), problems[0].key.as_str()), ("a.md", "more"));
    assert!(render(parse(""), "yearly").is_ok());
    assert!(render(parse("open = true\n"), "free").is_ok());
}

/// What does not show, or looks like another letter, is no way around a gate.
#[test]
fn a_gate_is_what_a_person_takes_for_one() {
    for line in [
        "<!-- \u{200B}more -->",
        "<!-- m\u{43E}re -->",
        "<!-- m ore -->",
        "<!--read more-->",
        "<!-- members-only -->",
        "<!-- \u{FEFF}only: yearly -->",
    ] {
        refused(&format!("a\n\n{line}\n\nb\n"), 8, 1);
    }
    for line in
        ["<!-- a note to ourselves -->", "<!-- furthermore, evermore -->", "<!-- TODO: commonly used -->"]
    {
        assert!(article(&format!("a\n\n{line}\n\nb\n")).is_ok(), "{line}");
    }
}

/// Nesting that no reader could follow is refused before it can exhaust anything.
#[test]
fn bottomless_nesting_is_an_error() {
    for body in [">".repeat(5000) + " a\n", "- ".repeat(400) + "a\n", "*_".repeat(3000) + "a\n"] {
        match article(&body) {
            Ok(_) => {}
            Err(problems) => assert!(problems.iter().any(|problem| problem.key == "nesting"), "{problems:?}"),
        }
    }
    let deep = article(&(">".repeat(60) + " a\n")).unwrap_err();
    assert_eq!((deep[0].key.as_str(), deep[0].line), ("nesting", 6));
    assert!(article(&(">".repeat(12) + " a\n")).is_ok());
}
