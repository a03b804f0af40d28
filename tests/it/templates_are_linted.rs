//! A template that is wrong is named with file, line and column, before anything is rendered.

use tidings::domain::problem::Problem;

use crate::render_support::{article, body, filled, found, publication, render_with, with};

#[track_caller]
fn refused(inner: &str, line: usize, column: usize, words: &str) {
    let problems = with(&[("weekly/body.mjml", &body(inner))]).expect_err(inner);
    found(&problems, ("templates/weekly/body.mjml", line, column), words);
    assert_eq!(problems.iter().filter(|p| p.is_error()).count(), 1, "{inner}: {problems:#?}");
}

#[track_caller]
fn warned(inner: &str, line: usize, column: usize, words: &str) {
    let set = with(&[("weekly/body.mjml", &body(inner))]).expect(inner);
    found(set.warnings(), ("templates/weekly/body.mjml", line, column), words);
}

#[track_caller]
fn accepted(inner: &str) {
    let set = with(&[("weekly/body.mjml", &body(inner))]).expect(inner);
    assert!(set.warnings().is_empty(), "{inner}: {:#?}", set.warnings());
}

#[test]
fn the_six_mistakes_that_everybody_makes() {
    refused("<mj-foo></mj-foo>", 4, 1, "no element <mj-foo>");
    refused("<mj-text>words", 4, 1, "<mj-text> is never closed");
    refused("<mj-text colour=\"#fff\">x</mj-text>", 4, 10, "no attribute \"colour\"");
    refused("<mj-text>\n  {{publication.nmae}}</mj-text>", 5, 5, "publication.nmae");
    refused("{{subscriber.name}}", 4, 1, "between elements");
    let around = [
        ("weekly/body.mjml", body("{{> a}}")),
        ("partials/a.mjml", "<mj-text>x</mj-text>\n{{> b}}".to_owned()),
        ("partials/b.mjml", "\n <mj-include path=\"partials/a.mjml\" />".to_owned()),
    ];
    let around: Vec<(&str, &str)> = around.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let problems = with(&around).unwrap_err();
    found(&problems, ("templates/partials/b.mjml", 2, 2), "include each other: a > b > partials/a.mjml");
}

#[test]
fn values_that_mrml_would_print_as_they_are() {
    refused("<mj-text color=\"petrol\">x</mj-text>", 4, 17, "color=\"petrol\"");
    refused("<mj-text padding=\"12\">x</mj-text>", 4, 19, "padding=\"12\"");
    refused("<mj-text padding=\"1px 2px 3px 4px 5px\">x</mj-text>", 4, 19, "not understood");
    refused("<mj-text align=\"middle\">x</mj-text>", 4, 17, "align");
    refused("<mj-text font-size=\"16\">x</mj-text>", 4, 21, "font-size");
    refused("<mj-image src=\"https://x.example/a.png\" alt=\"\" width=\"50%\" />", 4, 55, "width");
    refused("<mj-divider align=\"left\" />", 4, 13, "is ignored");
    refused("<mj-divider border-width />", 4, 13, "has no value");
    refused("<mj-text color=\"#fff\" color=\"#000\">x</mj-text>", 4, 23, "stands twice");
    accepted(
        "<mj-text padding=\"{{#if tier.price}}1px{{else}}2px{{/if}} 0\" color=\"{{tier.id}}\">x</mj-text>",
    );
    let hero = body("")
        .replace("<mj-section>", "<mj-hero mode=\"fluid-height\"><mj-text>x</mj-text></mj-hero><mj-section>");
    let problems = with(&[("weekly/body.mjml", &hero)]).unwrap_err();
    found(&problems, ("templates/weekly/body.mjml", 3, 16), "fluid-height");
}

#[test]
fn elements_stand_where_they_may() {
    refused("<mj-section></mj-section>", 4, 1, "<mj-section> cannot stand in <mj-column>");
    refused("<mj-text><mj-button>x</mj-button></mj-text>", 4, 10, "<mj-button> cannot stand in <mj-text>");
    refused("<mj-column></mj-column>", 4, 1, "cannot stand");
    refused("<p>x</p>", 4, 1, "<p> stands between elements");
    refused("words", 4, 1, "words stand between elements");
    refused("{{publication.name}}", 4, 3, "words stand between elements");
    refused("<mj-class name=\"x\" />", 4, 1, "cannot stand");
    refused("<mjml></mjml>", 4, 1, "cannot stand");
    for (text, words) in
        [("<mj-body></mj-body>", "no <mjml>"), ("<mjml></mjml>", "no <mj-body>"), ("", "no <mjml>")]
    {
        let problems = with(&[("weekly/body.mjml", text)]).unwrap_err();
        found(&problems, ("templates/weekly/body.mjml", 1, 1), words);
    }
    accepted(
        "<mj-social><mj-social-element src=\"https://x.example/a.png\" alt=\"x\">y</mj-social-element></mj-social>\
         <mj-raw><div>{{subscriber.name}}</div></mj-raw><mj-table><tr><td>x</td></tr></mj-table>",
    );
}

#[test]
fn quotes_that_break_are_found_where_they_start() {
    refused("<mj-text color=\"#fff>x</mj-text>", 4, 10, "not closed before the next <");
    refused("<mj-text color=#fff>x</mj-text>", 4, 16, "has no quotes");
    refused("<mj-button href='https://x.example/?\"'>x</mj-button>", 4, 37, "double quote");
    refused("<mj-text><p title='a \"b\"'>x</p></mj-text>", 4, 22, "double quote");
    refused("<mj-text \"x\">x</mj-text>", 4, 10, "attribute should start");
    refused("<mj-text color=\"#fff\"<p>x</p></mj-text>", 4, 22, "not finished before");
}

#[test]
fn what_our_renderer_does_not_read_is_refused() {
    for name in ["mj-html-attributes", "mj-selector"] {
        refused(&format!("<{name}></{name}>"), 4, 1, &format!("no element <{name}>"));
    }
    let head = |inner: &str| body("").replace("<mj-body>", &format!("<mj-head>{inner}</mj-head><mj-body>"));
    let problems =
        with(&[("weekly/body.mjml", &head("<mj-style inline=\"inline\">a {}</mj-style>"))]).unwrap_err();
    found(&problems, ("templates/weekly/body.mjml", 2, 20), "ignored");
    let wrong = head("<mj-attributes><mj-all colour=\"x\" /><mj-text padding=\"5\" /></mj-attributes>");
    let problems = with(&[("weekly/body.mjml", &wrong)]).unwrap_err();
    found(&problems, ("templates/weekly/body.mjml", 2, 33), "colour");
    found(&problems, ("templates/weekly/body.mjml", 2, 64), "padding");
}

#[test]
fn what_reaches_out_is_warned_of() {
    warned("<mj-image src=\"https://x.example/a.png\" />", 4, 1, "no alternative text");
    warned("<mj-text><img src=\"https://x.example/a.png\"></mj-text>", 4, 10, "no alternative text");
    warned("<mj-button href=\"http://x.example/\">x</mj-button>", 4, 18, "not encrypted");
    warned("<mj-text><a href=\"http://x.example/\">x</a></mj-text>", 4, 19, "not encrypted");
    warned("<mj-text font-family=\"Roboto, Arial\">x</mj-text>", 4, 23, "roboto");
    warned("<mj-text><b style=\"font-family:'Open Sans'\">x</b></mj-text>", 4, 20, "open sans");
    warned(
        "<mj-social><mj-social-element name=\"facebook\">x</mj-social-element></mj-social>",
        4,
        12,
        "somebody else's",
    );
}

#[test]
fn includes_are_resolved_inside_the_folder_only() {
    let inside = body("<mj-include path=\"./partials/x.mjml\" />");
    let text = "<mj-text>{{subscriber.name}} in {{edition.slug}} {{links.unsubscribe}} {{publication.postal_address}}</mj-text>";
    let set = with(&[("weekly/body.mjml", &inside), ("partials/x.mjml", text)]).unwrap();
    let [_, html, _] = filled(&render_with(&set, &[article("x\n").unwrap()], "yearly").unwrap().body);
    assert!(html.contains("Jonas Brandt in weekly-2026-11-24") && !html.contains("mj-include"), "{html}");

    let problems =
        with(&[("weekly/body.mjml", &inside), ("partials/x.mjml", "<mj-text>\n{{nothing}}</mj-text>")])
            .unwrap_err();
    found(&problems, ("templates/partials/x.mjml", 2, 3), "nothing");
    for path in ["../x.mjml", "/etc/passwd", "partials/../../x.mjml"] {
        refused(&format!("<mj-include path=\"{path}\" />"), 4, 19, "leaves the template folder");
    }
    refused("<mj-include path=\"partials/none.mjml\" />", 4, 1, "no file \"partials/none.mjml\"");
    let wrong = body("<mj-text><mj-include path=\"partials/bar.mjml\" /></mj-text>");
    let problems = with(&[("weekly/body.mjml", &wrong)]).unwrap_err();
    found(&problems, ("templates/partials/bar.mjml", 1, 9), "<mj-text> cannot stand in <mj-text>");
}

#[test]
fn an_included_document_and_a_template_that_includes_itself_are_refused() {
    let files = [
        ("weekly/body.mjml", body("<mj-include path=\"partials/x.mjml\" />")),
        ("partials/x.mjml", body("")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    found(
        &with(&files).unwrap_err(),
        ("templates/partials/x.mjml", 1, 1),
        "<mjml> cannot stand in <mj-column>",
    );
    let itself = body("<mj-include path=\"weekly/body.mjml\" />");
    let problems = with(&[("weekly/body.mjml", &itself)]).unwrap_err();
    found(&problems, ("templates/weekly/body.mjml", 4, 1), "include each other");
}

#[test]
fn what_only_mrml_finds_has_a_place_too() {
    let inner = "<mj-text>{{links.unsubscribe}} {{publication.postal_address}}</mj-text>\n<mj-text><p>&</p></mj-text>";
    let text = body(inner)
        .replace("<mj-body>", "<mj-head>\n<mj-raw><script>a<b</script></mj-raw>\n</mj-head>\n<mj-body>");
    match with(&[("weekly/body.mjml", &text)]) {
        Err(problems) => assert!(problems.iter().all(|p| p.line == 3), "{problems:#?}"),
        Ok(set) => {
            let problems = render_with(&set, &[article("x\n").unwrap()], "yearly").unwrap_err();
            assert_eq!(
                (problems[0].file.as_str(), problems[0].line),
                ("templates/weekly/body.mjml", 3),
                "{problems:#?}"
            );
        }
    }
}

#[test]
fn the_mail_itself_is_linted() {
    let warn = |front: &str, words: &str| {
        let (article, _) =
            tidings::render::Article::parse("a.md", front, std::path::Path::new("."), &publication())
                .unwrap();
        let rendered = render_with(&crate::render_support::shipped(), &[article], "yearly");
        match rendered {
            Ok(rendered) => assert!(
                rendered.warnings.iter().any(|p| p.problem.contains(words)),
                "{:#?}",
                rendered.warnings
            ),
            Err(problems) => assert!(problems.iter().any(|p| p.problem.contains(words)), "{problems:#?}"),
        }
    };
    let titled =
        |length: usize| format!("+++\ntitle = \"{}\"\nstatus = \"ready\"\n+++\nx\n", "a".repeat(length));
    warn(&titled(79), "79 characters");
    warn(&titled(256), "256 characters");
    let left = with(&[("weekly/subject.hbs", "Hello *|FNAME|*")]).unwrap();
    let rendered = render_with(&left, &[article("x\n").unwrap()], "yearly").unwrap();
    assert!(rendered.warnings.iter().any(|p| p.key == "leftover"), "{:#?}", rendered.warnings);
    let shown =
        render_with(&crate::render_support::shipped(), &[article("`{{x}}`\n").unwrap()], "yearly").unwrap();
    assert!(shown.warnings.is_empty(), "an article may show braces: {:#?}", shown.warnings);
    let nowhere =
        body("<mj-text>{{links.unsubscribe}} {{publication.postal_address}} <a href=\"\">x</a></mj-text>");
    let set = with(&[("weekly/body.mjml", &nowhere)]).unwrap();
    let problems = render_with(&set, &[article("x\n").unwrap()], "yearly").unwrap_err();
    assert!(problems.iter().any(|p| p.problem.contains("leads nowhere")), "{problems:#?}");
}

#[test]
fn the_shipped_set_has_nothing_to_warn_of() {
    let set = crate::render_support::shipped();
    assert!(set.warnings().is_empty(), "{:#?}", set.warnings());
}

/// A subject is a setting: its file and key are named, and where in it.
#[test]
fn a_wrong_subject_is_named_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::create_dir_all(config.join("articles/media")).unwrap();
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for file in [
        "tidings.toml",
        "articles/model-compression.md",
        "articles/federated-learning.md",
        "articles/media/federated-round.png",
    ] {
        std::fs::copy(shipped.join(file), config.join(file)).unwrap();
    }
    let text = std::fs::read_to_string(shipped.join("publication.toml")).unwrap();
    let text = text.split_once("[[slots]]").unwrap().0;
    let slot = "\n[[slots]]\nname = \"weekly\"\nat = \"Tue 09:00\"\ntiers = [\"yearly\"]\n\
                subject = \"News: {{articles.0.titel}}\"\nlate = \"24h\"\ntemplate = \"sign-in\"\n\
                take = { min = 1, max = 2 }\n";
    let text =
        text.replacen("subject = \"{{articles.0.title}}\"", "subject = \"{{edition.slog}}\"", 1) + slot;
    std::fs::write(config.join("publication.toml"), text).unwrap();
    let env = [("TIDINGS_SECRET".to_owned(), "a secret of sixteen or more".to_owned())].into();
    let (_, problems) = tidings::app::Setup::load(&config.join("tidings.toml"), &env, &[]);
    let told = |key: &str, words: &str| {
        let found =
            |p: &Problem| p.file.ends_with("publication.toml") && p.key == key && p.problem.contains(words);
        assert!(problems.iter().any(found), "{key}: {problems:#?}");
    };
    told("editions.first-light.subject", "at character 3 of it, there is no field \"edition.slog\"");
    told("slots.weekly.subject", "at character 9 of it, there is no field \"articles.0.titel\"");
    told("slots.weekly.template", "there is no template \"sign-in\"");
}

#[test]
fn raw_html_that_no_mail_holds_is_warned_of() {
    let text = "+++\ntitle = \"a\"\n+++\nü <font color=red>x</font> and <b style=\"x\">y</b>, <kbd>z</kbd>\n\n\
                <div>\n<p class=\"k\">a</p>\n<iframe src=\"https://x.example\"></iframe>\n</div>\n\n\
                - <a href=\"b.md\">b</a>\n\n`<font>` <!-- <font> -->\n\n```\n<script>\n```\n";
    let (_, warnings) =
        tidings::render::Article::parse("a.md", text, std::path::Path::new("."), &publication()).unwrap();
    let told: Vec<String> =
        warnings.iter().map(|p| format!("{}:{} {}: {}", p.line, p.column, p.key, p.problem)).collect();
    assert_eq!(
        told,
        [
            "4:3 html: <font> is left out, what it holds stays",
            "4:35 html: the attribute style of <b> is left out",
            "7:4 html: the attribute class of <p> is left out",
            "8:1 html: <iframe> is left out, and all that it holds",
            "11:6 html: the attribute href of <a> is left out, because \"b.md\" is no address of its own",
        ]
    );
}

#[test]
fn place_holders_of_other_systems_are_named_in_articles() {
    let text =
        "+++\ntitle = \"a\"\n+++\nDear *|FNAME|*,\n\nü {{ name }} and `{{code}}`\n\n```\n*|CODE|*\n```\n";
    let (_, warnings) =
        tidings::render::Article::parse("a.md", text, std::path::Path::new("."), &publication()).unwrap();
    let places: Vec<(usize, usize)> = warnings.iter().map(|p| (p.line, p.column)).collect();
    assert_eq!(places, [(4, 6), (6, 3)], "{warnings:#?}");
}

/// Why double quotes inside of single ones are refused in HTML, too: the renderer prints them between double quotes.
#[test]
fn the_renderer_still_breaks_double_quotes() {
    let text = "<mjml><mj-body><mj-section><mj-column><mj-text><p title='a \"b\"'>x</p></mj-text></mj-column></mj-section></mj-body></mjml>";
    let html =
        mrml::parse(text).unwrap().element.render(&mrml::prelude::render::RenderOptions::default()).unwrap();
    assert!(!html.contains("title='a \"b\"'") && !html.contains("&quot;b&quot;"), "the rule can go: {html}");
}
