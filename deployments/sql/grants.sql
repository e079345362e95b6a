-- Roles for people and programs on a PostgreSQL results database. Run it as the owner of the tables,
-- in the database, after `lfv db upgrade`, and again after each upgrade:
--   psql --set ON_ERROR_STOP=1 --file deployments/sql/grants.sql "$LFV_DATABASE_URL"
-- Then give each login its role: GRANT lfv_reader TO auditor;
--
--   lfv_reader    dashboards: reads everything but users and their sessions
--   lfv_auditor   also reads users, password hashes included, which lfv audit verify needs
--   lfv_reviewer  reads, and records reviews and decisions (lfv review, lfv decide)
--   lfv_engineer  the same, and approves the model versions that runs use (lfv models approve)
--   lfv_pages     the server of lfv ui: the same for everybody who logs in; stops and trains models
--   lfv_runner    workers: writes what runs, the sweeper and trainings store; creates no tables
--
-- No role may update or delete facts; triggers also refuse it.

DO $$
DECLARE role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['lfv_reader', 'lfv_auditor', 'lfv_reviewer', 'lfv_engineer', 'lfv_pages', 'lfv_runner'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', role_name);
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA public TO %I', role_name);
    END LOOP;
END $$;

REVOKE ALL ON users FROM lfv_reader, lfv_reviewer, lfv_engineer, lfv_runner;
REVOKE ALL ON sessions FROM lfv_reader, lfv_auditor, lfv_reviewer, lfv_engineer, lfv_runner;
GRANT SELECT, INSERT, UPDATE, DELETE ON users, sessions TO lfv_pages;

GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO lfv_reviewer, lfv_engineer, lfv_pages, lfv_runner;

GRANT INSERT ON policies, decisions, verdicts, reviews, audit_log TO lfv_reviewer, lfv_engineer, lfv_pages;
-- A decision becomes the run's current one, and the tallies follow it.
GRANT UPDATE ON runs, run_progress TO lfv_reviewer, lfv_engineer, lfv_pages;
GRANT INSERT, UPDATE, DELETE ON tallies, answer_tallies, review_leases, second_reviews
    TO lfv_reviewer, lfv_engineer, lfv_pages;
-- Reviewing a run in progress first tallies its lines so far.
GRANT INSERT, UPDATE ON anomaly_tallies, hosting_usage TO lfv_reviewer, lfv_engineer, lfv_pages;
GRANT INSERT ON approvals TO lfv_engineer, lfv_pages;
GRANT INSERT ON models, trainings TO lfv_pages;
GRANT UPDATE ON hostings TO lfv_pages;

GRANT INSERT ON
    models, trainings, policies, decisions, images, detections, masks, anomalies, inspections,
    inspection_attributes, verdicts, reviews, audit_log, runs, hostings, leases, hosting_usage,
    pending_items, run_progress, lease_heartbeats, tallies, answer_tallies, anomaly_tallies, model_paces,
    watermark_sources, watermark_objects, watermark_runs
    TO lfv_runner;
GRANT UPDATE ON
    runs, hostings, leases, hosting_usage, run_progress, lease_heartbeats, tallies, answer_tallies,
    anomaly_tallies,
    watermark_sources, watermark_objects, watermark_runs
    TO lfv_runner;
GRANT DELETE ON pending_items, lease_heartbeats, tallies, answer_tallies, model_paces, watermark_runs
    TO lfv_runner;
