//! How SQLite plans the statements that run once for each few messages. Each of them was slow once: a scan of the leased rows for
//! every settlement, a sort of the whole backlog for a claim of eight. The plans are looked at before and after ANALYZE, which
//! makes statistics that change them.

#[cfg(test)]
mod tests {
    use crate::domain::settings::StorageUrl;
    use crate::store::sql::{rows, run};
    use crate::store::{Dialect, Store, claims, deliveries, editions, lanes, numbers, retention};

    /// Three editions for 3000 people: one settled, one with some rows in flight, one waiting.
    const FILL: [&str; 5] = [
        "INSERT INTO editions (slug, state, due_at, subject, audience, reason) \
            VALUES ('a', 'sent', 1, '', 0, ''), ('b', 'sending', 1, '', 0, ''), ('c', 'paused', 1, '', 0, '')",
        "INSERT INTO bodies (edition_id, tier, audience, frame, body) SELECT id, 'free', 0, '', '' FROM editions",
        "INSERT INTO subscribers (address, address_key, name, tier, status, created_at, updated_at) \
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000) \
            SELECT i || '@x.example', i || '@x.example', '', 'free', 'active', 0, 0 FROM n",
        "INSERT INTO deliveries (kind, edition_id, subscriber_id, body_id, lane, stream, state, due_at, attempt, \
                uncertain_count, owner) \
            SELECT 'edition', e.id, s.id, e.id, 0, e.id, CASE WHEN e.id = 1 THEN 'accepted' \
                WHEN e.id = 2 AND s.id < 100 THEN 'leased' ELSE 'queued' END, 1, 0, 0, 1 \
            FROM subscribers s, editions e",
        "INSERT INTO suppressions (address_key, reason, at, source) \
            SELECT address_key, 'manual', 0, '' FROM subscribers WHERE id % 100 = 0",
    ];

    async fn plan(store: &Store, sql: String) -> Vec<String> {
        let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let mut tx = store.read().await.unwrap();
        let steps = rows!(tx, (i64, i64, i64, String), sql).unwrap();
        steps.into_iter().map(|(_, _, _, step)| step).collect()
    }

    fn has(plan: &[String], step: &str) {
        assert!(plan.iter().any(|line| line.starts_with(step)), "no `{step}` in {plan:#?}");
    }

    /// Nothing reads deliveries from end to end, and nothing sorts them.
    fn reads_little(plan: &[String]) {
        for line in plan {
            let scans = ["SCAN deliveries", "SCAN d", "SCAN x"].iter().any(|start| {
                line.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            });
            assert!(!scans, "`{line}` in {plan:#?}");
        }
    }

    async fn look(store: &Store) {
        let claim = plan(store, claims::claim_sql(Dialect::Sqlite)).await;
        reads_little(&claim);
        has(&claim, "SEARCH deliveries USING INTEGER PRIMARY KEY");
        has(&claim, "SEARCH d USING COVERING INDEX deliveries_queued (stream=? AND lane=? AND due_at<?)");
        has(
            &claim,
            "SEARCH x EXISTS USING COVERING INDEX deliveries_queued (stream=? AND lane=? AND due_at<?)",
        );
        // The one sort is that of the streams.
        let sorts = claim.iter().filter(|line| line.contains("USE TEMP B-TREE FOR ORDER BY")).count();
        assert!(sorts <= 1, "{claim:#?}");

        let due = plan(store, deliveries::HAS_DUE.into()).await;
        reads_little(&due);
        has(&due, "SEARCH x EXISTS USING COVERING INDEX deliveries_queued");

        for count in [1, 8, 64] {
            let settle = plan(store, deliveries::settle_sql(count, true)).await;
            reads_little(&settle);
            has(&settle, "SEARCH deliveries USING INTEGER PRIMARY KEY (rowid=?)");
        }

        // A page of numbers counts in indexes of what is open.
        let queue = plan(store, numbers::QUEUE.into()).await;
        assert_eq!(queue, ["SCAN deliveries USING COVERING INDEX deliveries_queued"], "and no sort");
        let open = plan(store, numbers::OPEN.into()).await;
        reads_little(&open.iter().filter(|line| !line.contains("INDEX")).cloned().collect::<Vec<_>>());
        has(&open, "SCAN deliveries USING COVERING INDEX deliveries_leased");
        has(&open, "SCAN deliveries USING INDEX deliveries_doubtful");
        has(&open, "SCAN inbound USING COVERING INDEX inbound_waiting");
        has(&open, "SCAN inbound USING COVERING INDEX inbound_quarantined");
        has(&open, "SEARCH owners USING INDEX owners_alive (heartbeat_at>?)");
        let threads = plan(store, numbers::THREADS.into()).await;
        has(&threads, "SEARCH t USING INDEX threads_by_state (state=?)");

        for lane in [editions::ONE_LANE, editions::SEVERAL_LANES] {
            let queue = plan(store, editions::deliveries_sql(lane)).await;
            has(&queue, "SCAN s");
            has(&queue, "SEARCH b USING");
            has(&queue, "SEARCH y USING COVERING INDEX");
        }
        has(
            &plan(store, editions::deliveries_sql(editions::SEVERAL_LANES)).await,
            "SEARCH m USING PRIMARY KEY (domain=?)",
        );

        // Housekeeping looks for who shares a mail's words, and for what is too old, without reading the ledger.
        let unread = plan(store, format!("SELECT 1 WHERE 1 IN {}", retention::unread())).await;
        reads_little(&unread);
        has(&unread, "SEARCH f USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)");
        has(&unread, "SEARCH w USING INDEX deliveries_of_body (body_id=?)");
        let bounces = plan(store, retention::OLD_BOUNCES.into()).await;
        has(&bounces, "SEARCH o USING INDEX bounces_said (at<?)");

        let states = plan(store, lanes::STATES.into()).await;
        reads_little(&states);
        has(
            &states,
            "SEARCH x EXISTS USING COVERING INDEX deliveries_queued (stream=? AND lane=? AND due_at<?)",
        );
        let counting = plan(store, editions::PER_BODY.into()).await;
        has(&counting, "SEARCH d USING INTEGER PRIMARY KEY (rowid>?)");
    }

    #[tokio::test]
    async fn hot_statements_read_what_they_need() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StorageUrl::Sqlite(folder.path().join("tidings.db"))).await.unwrap();
        let mut tx = store.write().await.unwrap();
        for statement in FILL {
            run!(tx, statement).unwrap();
        }
        tx.commit().await.unwrap();
        look(&store).await;
        let mut tx = store.write().await.unwrap();
        run!(tx, "ANALYZE").unwrap();
        tx.commit().await.unwrap();
        store.close().await;
        // Statistics are read when a file is opened.
        let store = Store::open(&StorageUrl::Sqlite(folder.path().join("tidings.db"))).await.unwrap();
        look(&store).await;
        store.close().await;
    }
}
