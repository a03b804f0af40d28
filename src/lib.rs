//! Tidings, an email-first newsletter delivery daemon. It queues one or two articles, renders an MJML template per subscriber
//! tier, sends through SMTP under rate limits, and takes the answers into a support inbox.
//!
//! # Layers
//!
//! Imports go downward only, never sideways except from `cli` and `demo` to `app`; a test reads every path and fails on an edge
//! that this table does not allow.
//!
//! | layer | module | its one job |
//! |---|---|---|
//! | 6 | `main` | flags in, exit code out |
//! | 5 | [`app`], [`cli`], [`demo`] | the only place where parts meet; the commands; the loopback world of `tidings demo` |
//! | 4 | [`tasks`], [`web`] | the order of steps, each worker one public step; the pages |
//! | 3 | [`store`], [`transport`], [`intake`] | SQL; sending; receiving. They never import each other |
//! | 2 | [`mail`], [`render`], [`import`], [`config`] | bytes of mail; templates; other people's files; text to checked settings |
//! | 1 | [`domain`] | rules and types, pure: no async, no clock, no SQL, no wire format |
//! | 0 | [`runtime`] | clock, shutdown, telemetry, signs of life, redaction, whom TLS trusts |
//!
//! What is absent keeps the house livable. No function reads the clock outside `runtime`. No network wait happens inside a
//! transaction. There is no second path that sends mail. Nothing is acknowledged before it is committed. No address reaches a log
//! unmasked. `transport` decides no retry, `store` understands no message. No test switch exists in production code.
//!
//! # Out
//!
//! [`tasks::schedule`], then [`tasks::send`]: due edition -> **permit -> claim -> fill -> sign -> send -> settle**.
//!
//! 1. *Schedule.* Every tier is rendered and checked, then one transaction writes the edition, its frozen bodies
//!    ([`domain::body`]) and one delivery per person of the audience.
//! 2. *Permit.* A connection belongs to one relay ([`tasks::health`], [`tasks::shares`]) and waits for its rate
//!    ([`transport::Pacer`]). Rates of relays and lanes live in rows and are borrowed in the transaction of the claim
//!    ([`tasks::traffic`], [`domain::limit`]); a lane without a permit costs the others nothing.
//! 3. *Claim.* [`tasks::ledger`] gathers what all connections ask and answers them with one transaction: it settles their last
//!    deliveries, leases the next ones, and reads consent, suppression and entitlement again ([`store::deliveries`]).
//! 4. *Fill.* [`mail::compose`] splices the recipient's values into pieces that were encoded once per body. Date, ids and
//!    boundary follow from the first attempt, so a retry is the same message.
//! 5. *Sign.* [`mail::dkim`] puts a signature of each aligned key in front, with the time of the first attempt; RSA runs on worker
//!    threads ([`tasks::signing`]). With keys configured nothing leaves unsigned.
//! 6. *Send.* [`transport::Session`] speaks SMTP, over TLS where the relay asks for it, one timer per command; what the peer said
//!    is a value, never an error.
//! 7. *Settle.* [`domain::delivery::settle`] is a pure function over the class of the reply ([`domain::reply_rule`]); its answer,
//!    and the suppression that a hard bounce brings, are committed before the connection's next MAIL.
//!
//! | state | what it means | after a crash |
//! |---|---|---|
//! | queued | due at a time, owned by nobody | still queued |
//! | leased | in flight; never more than the open connections | uncertain: the claim is the write-ahead mark |
//! | accepted | 2xx to the final dot | final |
//! | refused | permanent 5xx for this recipient | final |
//! | expired | gave up after the give-up time | final |
//! | uncertain | lost while the peer may have had it | `resend`: again, twice at most; `hold`: waits for `editions retry` |
//! | skipped | unsubscribed, suppressed, cancelled or no longer entitled | final |
//! | parked | our own fault | waits for `editions retry` |
//!
//! # In
//!
//! [`tasks::receive`], fed by [`intake`]: record -> acknowledge -> parse -> classify -> thread -> effects. Mail comes in by LMTP, from
//! mailboxes on IMAP servers ([`tasks::mailbox`]), from Maildirs ([`tasks::maildir`]) and by `ingest`; behind all of them is one line
//! ([`tasks::recording`]). Raw bytes are committed before anything is acknowledged, moved or flagged; parsing never fails and runs off the reactor; the verdict comes from a table of rules
//! ([`domain::verdict`]); effects and the `done` mark are one transaction; what fails three times is set aside and can be run again.
//!
//! # Promises
//!
//! Each stands here once, beside the test of its name in `tests/it`.
//!
//! | promise | test |
//! |---|---|
//! | However a relay fails, nothing is lost, no recipient pays for what is ours or the relay's, and only a hard bounce suppresses | `fault_matrix` |
//! | After any crash nobody is missed; doubles are at most the connections open at the crash and carry the same Message-ID; with `hold` there are none | `killed_and_restarted` |
//! | An edition is `sent` only when every row is final and the counts add up to its frozen audience | `peer_takes_everything` |
//! | A word inside a gate is in no part, header, link or preheader of another tier's mail; a broken gate sends nothing | `tier_gates` |
//! | What a person gets now is what they are entitled to now: the rule and its SQL agree, and a claim asks again | `audience_rule`, `store_suite` |
//! | A rate holds across restarts and processes in every second; a lane that waits costs the others nothing | `limits_survive_restarts`, `two_lanes` |
//! | What is said about us blames no recipient: relay, lane or edition stops, and resuming sends nothing twice | `relay_is_stopped`, `edition_trips_breaker` |
//! | A hard bounce is doubted only while the guard against false ones has its lane paused, and an operator says what it was; what came back is never sent again | `bounces_are_believed` |
//! | Nothing is sent to a suppressed address after the suppression committed | `store_suite` |
//! | With `[dkim]` every mail leaves signed or not at all, one-click unsubscribing is covered, and a retry has the same octets | `signed_mail`, `dkim_by_another` |
//! | A received message is acknowledged only after it is recorded, and one bad message stops no other, not even one that kills the process | `lmtp_dialogue`, `answer_arrives`, `one_bad_row_in_a_group`, `message_ends_the_process` |
//! | However often it is killed, every mail that an MTA hands over or that lies in a mailbox is one row, and nobody's \\Seen changes | `real_dovecot`, `real_postfix_in`, `mailbox_is_read`, `maildir_is_read` |
//! | What a server or an MTA sends takes bounded memory, whatever it says about its size | `mailbox_is_read`, `lmtp_dialogue` |
//! | No file raises anybody: a plan that is not named gives no tier, a status that is not clearly active gives no mail, a suppression stays | `people_from_elsewhere`, `people_are_imported` |
//! | A later end renews a term with its extras, a correction does not, by import as by command | `people_are_renewed` |
//! | Who moved is one person and mailed once, whichever of their addresses a file names | `people_who_moved` |
//! | Two who change the same at the same time undo nothing of each other | `changes_cross` |
//! | Import, export and import again loses nothing and changes nothing | `people_from_elsewhere` |
//! | What is exported about one person holds nothing of anybody else | `people_are_exported` |
//! | Opening a link changes nothing, whatever opens it; a form's page says nothing about who is on the list | `scanners_change_nothing`, `joins_by_form` |
//! | The archive shows each reader what their tier of this moment gets by mail, an extra only to who got it, and no shared cache keeps a member's page | `archive_is_gated` |
//! | A mailed link signs in once, by its button, and nothing tells who may; strangers keep nobody out; who has left the house is out at once | `signs_in_by_mail` |
//! | The desk is seen by its staff and the board by editors, while they are; a form that is forged, sent again or overtaken changes nothing and loses nothing; what strangers write is text | `staff_at_the_desk`, `editors_at_the_board` |
//! | Leaving with one click is honoured each time, and counts from the next message on | `one_click_post` |
//! | Nothing but one question is sent to an address that has not confirmed | `joins_by_form` |
//! | A stranger gets into nobody's conversation | `answer_arrives` |
//! | A subscriber reads the words of an answer and nothing else of who wrote it; what is not proven, or not understood, is told to staff and to nobody else | `staff_answers`, `staff_leaks`, `support_by_postfix` |
//! | Automatic mail opens, reopens and answers nothing, and gets no automatic answer twice | `two_desks`, `answer_arrives` |
//! | Only a proven editor approves or holds by mail, each word once; a proof reaches people of the house only and counts nowhere | `editor_answers`, `preview_is_what_is_sent` |
//! | Nothing is sent that cannot be settled, and nothing is acknowledged that cannot be recorded, while the database is away or the disk full | `database_goes_away`, `disk_is_full` |
//! | A restored backup sends nothing by itself that may have been sent since it was taken | `backup_is_restored` |
//! | Who is erased is in no table, file or log, gets nothing, stays away after an import, and every sum still holds | `person_is_erased` |
//! | That goes for addresses that they had before and for what comes in later, and it goes on after a crash | `erasing_goes_on` |
//! | Details that are too old are thrown away, in pieces that keep nobody waiting; sums, consents and open conversations stay | `too_old_is_thrown_away` |
//! | No address is in a log, at any level | `logs_hold_no_address` |
//! | Operators hear of a cause once an hour, even if the relay is what is broken | `alarms_reach_operators` |

pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod import;
pub mod intake;
pub mod mail;
pub mod render;
pub mod runtime;
pub mod store;
pub mod tasks;
pub mod transport;
pub mod web;
