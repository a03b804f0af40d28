//! Layer 2: from what editors write to what a tier gets.
//!
//! An article's gates are cut out of its Markdown before anything else looks at it ([`gates`]), so a gated word cannot
//! reach a tier by way of a heading, a link or a footnote. A template set ([`TemplateSet`]) is checked as a whole, each
//! file against the fields of its kind ([`fields`]), before it renders anything. Rendering happens once per edition and
//! tier and ends in a frozen [`crate::domain::body::Body`]: literals, holes and conditions, no template any more. Mails for
//! one person (notices, answers, confirmations, reports) are rendered by a function of their own and have no holes.
//!
//! Known gap: dates and the templates' own words are English, whatever `publication.language` says; it only names the language
//! of the mail's markup.
//!
//! Pure but for [`Article::load`] and [`TemplateSet::load`], which read files.

mod alarm;
mod answer;
pub mod article;
mod blocks;
mod check;
mod code;
mod context;
mod edition;
mod elements;
mod engine;
pub mod fields;
mod front;
pub mod gates;
mod holes;
mod includes;
mod lint;
mod markdown;
mod media;
mod mjml;
mod notice;
mod one_off;
mod paths;
mod plain;
mod report;
mod rules;
mod sanitise;
mod scope;
mod tags;
pub mod template;
mod values;

pub use alarm::{AlarmInput, render_alarm};
pub use answer::{AnswerInput, render_answer};
pub use article::{Article, Status, TierArticle};
pub use edition::{EditionInput, RenderedTier, render_edition, subject_name};
pub use lint::{HTML_STOPS, HTML_WARNS, lint_edition, lint_mail};
pub use media::Media;
pub use notice::{NoticeInput, NoticePost, NoticeThread, ToldInput, render_notice, render_told};
pub use one_off::{
    AddressToldInput, ConfirmInput, KnownInput, LeaveInput, SignInInput, SupportAckInput, WelcomeInput,
    render_address, render_address_told, render_confirm, render_known, render_leave, render_sign_in,
    render_support_ack, render_welcome,
};
pub use report::{ReportEvent, ReportInput, ReportTier, render_report};
pub use sanitise::plain_html;
pub use template::TemplateSet;
