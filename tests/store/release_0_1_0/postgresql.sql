--
-- PostgreSQL database dump
--

\restrict zcmSeBF6oI11CwGVhUCupdwJwFrZ7yRBQJdbOaDUdyXE1xqCaTXTgsmenokBijr

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: refuse_change(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: alembic_version; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);


--
-- Name: anomalies; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.anomalies (
    detection_id bigint NOT NULL,
    "position" bigint NOT NULL,
    name text NOT NULL,
    total_percentage_area double precision NOT NULL,
    color text
);


--
-- Name: detections; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.detections (
    id bigint NOT NULL,
    model_id bigint NOT NULL,
    image_id bigint NOT NULL,
    run_id bigint NOT NULL,
    is_anomalous boolean NOT NULL,
    confidence double precision NOT NULL,
    response json NOT NULL,
    mask_sha256 text,
    request_id text,
    latency_ms double precision,
    detected_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_detections_ck_detections_confidence CHECK (((confidence >= (0)::double precision) AND (confidence <= (1)::double precision)))
);


--
-- Name: images; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.images (
    id bigint NOT NULL,
    sha256 text NOT NULL COLLATE pg_catalog."C",
    format text NOT NULL,
    width bigint NOT NULL,
    height bigint NOT NULL,
    size_bytes bigint NOT NULL
);


--
-- Name: inspections; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.inspections (
    id bigint NOT NULL,
    run_id bigint NOT NULL,
    line_number bigint NOT NULL,
    source_ref text NOT NULL,
    image_id bigint,
    detection_id bigint,
    reused boolean NOT NULL,
    verdict text,
    reasons json NOT NULL,
    error_code text,
    error_message text,
    attempts bigint NOT NULL,
    attributes json NOT NULL,
    expected_is_anomalous boolean,
    expected_mask_ref text,
    inspected_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_inspections_ck_inspections_verdict CHECK ((verdict = ANY (ARRAY['accept'::text, 'reject'::text, 'review'::text]))),
    CONSTRAINT ck_inspections_ck_inspections_verdict_has_answer CHECK (((verdict IS NULL) OR (detection_id IS NOT NULL))),
    CONSTRAINT ck_inspections_ck_inspections_verdict_or_error CHECK (((verdict IS NULL) <> (error_code IS NULL)))
);


--
-- Name: models; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.models (
    id bigint NOT NULL,
    host text NOT NULL,
    model_arn text NOT NULL,
    project_name text NOT NULL,
    model_version text NOT NULL,
    created_at timestamp with time zone,
    facts json NOT NULL,
    registered_at timestamp with time zone NOT NULL
);


--
-- Name: runs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.runs (
    id bigint NOT NULL,
    run_id text NOT NULL,
    model_id bigint,
    project_name text NOT NULL,
    model_version text NOT NULL,
    host text NOT NULL,
    source text NOT NULL,
    manifest_sha256 text,
    manifest_lines bigint,
    policy_id bigint NOT NULL,
    current_decision bigint NOT NULL,
    later_decision_id bigint,
    triggered_by text NOT NULL,
    flow_run_id text,
    code_version text NOT NULL,
    parameters json NOT NULL,
    status text NOT NULL,
    message text,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT ck_runs_ck_runs_status CHECK ((status = ANY (ARRAY['running'::text, 'completed'::text, 'failed'::text, 'cancelled'::text, 'crashed'::text, 'interrupted'::text])))
);


--
-- Name: anomaly_results; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.anomaly_results AS
 SELECT r.run_id,
    i.line_number,
    i.source_ref,
    im.sha256 AS image_sha256,
    COALESCE(m.project_name, r.project_name) AS project_name,
    COALESCE(m.model_version, r.model_version) AS model_version,
    a.name,
    a.total_percentage_area,
    a.color,
    d.is_anomalous,
    d.confidence,
    d.detected_at,
    i.id AS inspection_id,
    d.id AS detection_id
   FROM (((((public.anomalies a
     JOIN public.detections d ON ((d.id = a.detection_id)))
     JOIN public.inspections i ON ((i.detection_id = d.id)))
     JOIN public.runs r ON ((r.id = i.run_id)))
     JOIN public.images im ON ((im.id = d.image_id)))
     LEFT JOIN public.models m ON ((m.id = r.model_id)))
  WHERE (NOT ((a."position" = 0) AND (a.name = 'background'::text)));


--
-- Name: audit_changes; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.audit_changes
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: audit_log; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_log (
    seq bigint NOT NULL,
    change bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    content json NOT NULL,
    previous text NOT NULL,
    hash text NOT NULL
);


--
-- Name: decisions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.decisions (
    id bigint NOT NULL,
    run_id bigint NOT NULL,
    number bigint NOT NULL,
    policy_id bigint NOT NULL,
    decided_by text NOT NULL,
    decided_at timestamp with time zone NOT NULL
);


--
-- Name: tallies; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tallies (
    run_id bigint NOT NULL,
    day date NOT NULL,
    accepted bigint NOT NULL,
    rejected bigint NOT NULL,
    review bigint NOT NULL,
    errors bigint NOT NULL,
    reused bigint NOT NULL,
    asked bigint NOT NULL
);


--
-- Name: defect_rate_daily; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.defect_rate_daily AS
 SELECT t.day,
    COALESCE(m.project_name, r.project_name) AS project_name,
    COALESCE(m.model_version, r.model_version) AS model_version,
    r.host,
    int8(sum((((t.accepted + t.rejected) + t.review) + t.errors))) AS inspected,
    int8(sum(t.accepted)) AS accepted,
    int8(sum(t.rejected)) AS rejected,
    int8(sum(t.review)) AS review,
    int8(sum(t.errors)) AS errors,
    (((sum(t.rejected))::double precision * (1.0)::double precision) / (NULLIF(sum(((t.accepted + t.rejected) + t.review)), (0)::numeric))::double precision) AS defect_rate
   FROM ((public.tallies t
     JOIN public.runs r ON ((r.id = t.run_id)))
     LEFT JOIN public.models m ON ((m.id = r.model_id)))
  GROUP BY t.day, COALESCE(m.project_name, r.project_name), COALESCE(m.model_version, r.model_version), r.host;


--
-- Name: hosting_usage; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.hosting_usage (
    id bigint NOT NULL,
    hosting_id bigint NOT NULL,
    run_id bigint NOT NULL,
    images bigint NOT NULL,
    first_answer_at timestamp with time zone NOT NULL,
    last_answer_at timestamp with time zone NOT NULL
);


--
-- Name: hostings; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.hostings (
    id bigint NOT NULL,
    model_id bigint NOT NULL,
    status text NOT NULL,
    owned boolean NOT NULL,
    client_token text NOT NULL,
    host_spec json NOT NULL,
    min_units bigint NOT NULL,
    max_units bigint,
    price_per_unit_hour double precision NOT NULL,
    billed_from text NOT NULL,
    billed_to text NOT NULL,
    requested_by text NOT NULL,
    requested_at timestamp with time zone NOT NULL,
    hosted_at timestamp with time zone,
    stop_requested_at timestamp with time zone,
    stopped_at timestamp with time zone,
    message text,
    stop_attempts bigint NOT NULL,
    stop_error text,
    claimed_by text,
    claimed_until timestamp with time zone,
    CONSTRAINT ck_hostings_ck_hostings_billed_from CHECK ((billed_from = ANY (ARRAY['requested'::text, 'hosted'::text]))),
    CONSTRAINT ck_hostings_ck_hostings_billed_to CHECK ((billed_to = ANY (ARRAY['stop_requested'::text, 'stopped'::text]))),
    CONSTRAINT ck_hostings_ck_hostings_min_units CHECK ((min_units >= 1)),
    CONSTRAINT ck_hostings_ck_hostings_price_per_unit_hour CHECK ((price_per_unit_hour >= (0)::double precision)),
    CONSTRAINT ck_hostings_ck_hostings_status CHECK ((status = ANY (ARRAY['requested'::text, 'hosted'::text, 'stop_requested'::text, 'stopped'::text, 'failed'::text, 'left'::text])))
);


--
-- Name: leases; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.leases (
    id bigint NOT NULL,
    hosting_id bigint NOT NULL,
    run_id bigint NOT NULL,
    acquired_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    end_reason text,
    CONSTRAINT ck_leases_ck_leases_end_reason CHECK ((end_reason = ANY (ARRAY['released'::text, 'expired'::text]))),
    CONSTRAINT ck_leases_ck_leases_ended CHECK (((ended_at IS NULL) = (end_reason IS NULL)))
);


--
-- Name: run_stays; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.run_stays AS
 SELECT s.hosting_id,
    s.run_key,
    s.leased_from,
    s.leased_to,
    COALESCE(u.images, (0)::bigint) AS images,
    u.first_answer_at,
    u.last_answer_at
   FROM (( SELECT leases.hosting_id,
            leases.run_id AS run_key,
            min(leases.acquired_at) AS leased_from,
            max(COALESCE(leases.ended_at, now())) AS leased_to
           FROM public.leases
          GROUP BY leases.hosting_id, leases.run_id) s
     LEFT JOIN public.hosting_usage u ON (((u.run_id = s.run_key) AND (u.hosting_id = s.hosting_id))));


--
-- Name: hosting_costs; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.hosting_costs AS
 WITH covered AS (
         SELECT run_stays.hosting_id,
            run_stays.first_answer_at,
            run_stays.last_answer_at,
            max(run_stays.last_answer_at) OVER (PARTITION BY run_stays.hosting_id ORDER BY run_stays.first_answer_at, run_stays.run_key ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS covered_to
           FROM public.run_stays
          WHERE (run_stays.images > 0)
        ), working AS (
         SELECT covered.hosting_id,
            sum(
                CASE
                    WHEN ((covered.covered_to IS NULL) OR (covered.first_answer_at >= covered.covered_to)) THEN (EXTRACT(epoch FROM (covered.last_answer_at - covered.first_answer_at)))::double precision
                    WHEN (covered.last_answer_at > covered.covered_to) THEN (EXTRACT(epoch FROM (covered.last_answer_at - covered.covered_to)))::double precision
                    ELSE (0)::double precision
                END) AS seconds
           FROM covered
          GROUP BY covered.hosting_id
        ), used AS (
         SELECT run_stays.hosting_id,
            count(*) AS runs,
            sum(run_stays.images) AS images
           FROM public.run_stays
          GROUP BY run_stays.hosting_id
        ), billed AS (
         SELECT h_1.id,
                CASE
                    WHEN (NOT h_1.owned) THEN (0.0)::double precision
                    ELSE COALESCE(GREATEST((0.0)::double precision, (EXTRACT(epoch FROM (h_1.paid_to - h_1.paid_from)))::double precision), (0.0)::double precision)
                END AS paid_seconds
           FROM ( SELECT hostings.id,
                    hostings.owned,
                        CASE hostings.billed_from
                            WHEN 'requested'::text THEN hostings.requested_at
                            ELSE hostings.hosted_at
                        END AS paid_from,
                    COALESCE(
                        CASE hostings.billed_to
                            WHEN 'stop_requested'::text THEN hostings.stop_requested_at
                            ELSE NULL::timestamp with time zone
                        END, hostings.stopped_at, now()) AS paid_to
                   FROM public.hostings) h_1
        )
 SELECT h.id AS hosting_id,
    h.model_id,
    m.project_name,
    m.model_version,
    m.host,
    h.status,
    h.owned,
    h.requested_by,
    h.requested_at,
    h.hosted_at,
    h.stop_requested_at,
    h.stopped_at,
    h.min_units AS inference_units,
    h.price_per_unit_hour,
    COALESCE(u.runs, (0)::bigint) AS runs,
    int8(COALESCE(u.images, (0)::numeric)) AS images,
    b.paid_seconds,
    LEAST(b.paid_seconds, COALESCE(w.seconds, (0.0)::double precision)) AS working_seconds,
    (b.paid_seconds - LEAST(b.paid_seconds, COALESCE(w.seconds, (0.0)::double precision))) AS idle_seconds,
    (((b.paid_seconds / (3600.0)::double precision) * (h.min_units)::double precision) * h.price_per_unit_hour) AS cost,
    (((((b.paid_seconds / (3600.0)::double precision) * (h.min_units)::double precision) * h.price_per_unit_hour) * (1000.0)::double precision) / (NULLIF(u.images, (0)::numeric))::double precision) AS cost_per_thousand_images
   FROM ((((public.hostings h
     JOIN public.models m ON ((m.id = h.model_id)))
     JOIN billed b ON ((b.id = h.id)))
     LEFT JOIN used u ON ((u.hosting_id = h.id)))
     LEFT JOIN working w ON ((w.hosting_id = h.id)));


--
-- Name: inspection_attributes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.inspection_attributes (
    inspection_id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: reviews; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.reviews (
    id bigint NOT NULL,
    inspection_id bigint NOT NULL,
    verdict text NOT NULL,
    reviewer text NOT NULL,
    comment text NOT NULL,
    reviewed_at timestamp with time zone NOT NULL,
    CONSTRAINT ck_reviews_ck_reviews_reviewer CHECK ((reviewer <> ''::text)),
    CONSTRAINT ck_reviews_ck_reviews_verdict CHECK ((verdict = ANY (ARRAY['accept'::text, 'reject'::text])))
);


--
-- Name: verdicts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.verdicts (
    id bigint NOT NULL,
    decision_id bigint NOT NULL,
    inspection_id bigint NOT NULL,
    verdict text NOT NULL,
    reasons json NOT NULL,
    CONSTRAINT ck_verdicts_ck_verdicts_verdict CHECK ((verdict = ANY (ARRAY['accept'::text, 'reject'::text, 'review'::text])))
);


--
-- Name: inspection_results; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.inspection_results AS
 SELECT r.run_id,
    r.flow_run_id,
    i.source_ref,
    im.sha256 AS image_sha256,
    COALESCE(m.project_name, r.project_name) AS project_name,
    COALESCE(m.model_version, r.model_version) AS model_version,
    r.host,
    d.is_anomalous,
    d.confidence,
    COALESCE(v.verdict, i.verdict) AS verdict,
    COALESCE(v.reasons, i.reasons) AS reasons,
    (i.error_code || COALESCE((': '::text || i.error_message), ''::text)) AS error,
    i.reused,
    d.detected_at,
    i.attributes,
    i.line_number,
    i.inspected_at,
    i.id AS inspection_id,
    i.error_code,
    i.attempts,
    i.expected_is_anomalous,
    i.detection_id,
    d.request_id,
    d.latency_ms,
    i.verdict AS first_verdict,
    ( SELECT rv.verdict
           FROM public.reviews rv
          WHERE (rv.inspection_id = i.id)
          ORDER BY rv.id DESC
         LIMIT 1) AS reviewed_verdict
   FROM (((((public.inspections i
     JOIN public.runs r ON ((r.id = i.run_id)))
     LEFT JOIN public.models m ON ((m.id = r.model_id)))
     LEFT JOIN public.images im ON ((im.id = i.image_id)))
     LEFT JOIN public.detections d ON ((d.id = i.detection_id)))
     LEFT JOIN public.verdicts v ON (((v.inspection_id = i.id) AND (v.decision_id = r.later_decision_id))));


--
-- Name: lease_heartbeats; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.lease_heartbeats (
    lease_id bigint NOT NULL,
    beat_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ttl_seconds double precision NOT NULL
);


--
-- Name: masks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.masks (
    detection_id bigint NOT NULL,
    png bytea NOT NULL
);


--
-- Name: pending_items; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.pending_items (
    run_id bigint NOT NULL,
    line_number bigint NOT NULL,
    duplicate boolean NOT NULL,
    source_ref text NOT NULL,
    image_sha256 text NOT NULL,
    image_format text NOT NULL,
    image_width bigint NOT NULL,
    image_height bigint NOT NULL,
    image_size_bytes bigint NOT NULL,
    attributes json NOT NULL,
    expected_is_anomalous boolean,
    expected_mask_ref text
);


--
-- Name: policies; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.policies (
    id bigint NOT NULL,
    sha256 text NOT NULL,
    content json NOT NULL,
    stored_at timestamp with time zone NOT NULL
);


--
-- Name: review_queue; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.review_queue AS
 SELECT r.run_id,
    i.line_number,
    i.source_ref,
    im.sha256 AS image_sha256,
    COALESCE(m.project_name, r.project_name) AS project_name,
    COALESCE(m.model_version, r.model_version) AS model_version,
    r.host,
    d.is_anomalous,
    d.confidence,
    q.reasons,
    i.attributes,
    i.inspected_at,
    q.inspection_id
   FROM (((((( SELECT i_1.id AS inspection_id,
            i_1.reasons
           FROM (public.inspections i_1
             JOIN public.runs r_1 ON ((r_1.id = i_1.run_id)))
          WHERE ((i_1.verdict = 'review'::text) AND ((r_1.later_decision_id IS NULL) OR (NOT (EXISTS ( SELECT 1
                   FROM public.verdicts v
                  WHERE ((v.inspection_id = i_1.id) AND (v.decision_id = r_1.later_decision_id)))))))
        UNION ALL
         SELECT v.inspection_id,
            v.reasons
           FROM (public.runs r_1
             JOIN public.verdicts v ON (((v.decision_id = r_1.later_decision_id) AND (v.verdict = 'review'::text))))) q
     JOIN public.inspections i ON ((i.id = q.inspection_id)))
     JOIN public.runs r ON ((r.id = i.run_id)))
     JOIN public.images im ON ((im.id = i.image_id)))
     JOIN public.detections d ON ((d.id = i.detection_id)))
     LEFT JOIN public.models m ON ((m.id = r.model_id)))
  WHERE (NOT (EXISTS ( SELECT 1
           FROM public.reviews rv
          WHERE (rv.inspection_id = q.inspection_id))));


--
-- Name: run_costs; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.run_costs AS
 WITH shares AS (
         SELECT s_1.hosting_id,
            s_1.run_key,
            s_1.images,
                CASE
                    WHEN (sum(s_1.images) OVER hosting > (0)::numeric) THEN (((s_1.images)::double precision * (1.0)::double precision) / (sum(s_1.images) OVER hosting)::double precision)
                    WHEN (sum(s_1.seconds) OVER hosting > (0)::double precision) THEN (s_1.seconds / sum(s_1.seconds) OVER hosting)
                    ELSE ((1.0)::double precision / (count(*) OVER hosting)::double precision)
                END AS share
           FROM ( SELECT run_stays.hosting_id,
                    run_stays.run_key,
                    run_stays.images,
                    (EXTRACT(epoch FROM (run_stays.leased_to - run_stays.leased_from)))::double precision AS seconds
                   FROM public.run_stays) s_1
          WINDOW hosting AS (PARTITION BY s_1.hosting_id)
        )
 SELECT r.run_id,
    s.hosting_id,
    s.images,
    s.share,
    (c.paid_seconds * s.share) AS paid_seconds,
    (c.idle_seconds * s.share) AS idle_seconds,
    (c.cost * s.share) AS cost
   FROM ((shares s
     JOIN public.runs r ON ((r.id = s.run_key)))
     JOIN public.hosting_costs c ON ((c.hosting_id = s.hosting_id)));


--
-- Name: run_progress; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.run_progress (
    run_id bigint NOT NULL,
    planned_through bigint NOT NULL
);


--
-- Name: run_summary; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.run_summary AS
 WITH counted AS (
         SELECT tallies.run_id,
            int8(sum(tallies.accepted)) AS accepted,
            int8(sum(tallies.rejected)) AS rejected,
            int8(sum(tallies.review)) AS review,
            int8(sum(tallies.errors)) AS errors,
            int8(sum(tallies.reused)) AS reused,
            int8(sum(tallies.asked)) AS asked
           FROM public.tallies
          GROUP BY tallies.run_id
        ), waiting AS (
         SELECT pending_items.run_id,
            count(*) AS pending
           FROM public.pending_items
          GROUP BY pending_items.run_id
        ), paid AS (
         SELECT run_costs.run_id,
            sum(run_costs.paid_seconds) AS paid_seconds,
            sum(run_costs.idle_seconds) AS idle_seconds,
            sum(run_costs.cost) AS cost
           FROM public.run_costs
          GROUP BY run_costs.run_id
        )
 SELECT r.run_id,
    r.flow_run_id,
    r.status,
    r.message,
    COALESCE(m.project_name, r.project_name) AS project_name,
    COALESCE(m.model_version, r.model_version) AS model_version,
    r.host,
    r.source,
    r.triggered_by,
    r.started_at,
    r.finished_at,
    r.manifest_sha256,
    r.manifest_lines,
    p.sha256 AS policy_sha256,
    r.code_version,
    COALESCE((((c.accepted + c.rejected) + c.review) + c.errors), (0)::bigint) AS inspected,
    COALESCE(c.accepted, (0)::bigint) AS accepted,
    COALESCE(c.rejected, (0)::bigint) AS rejected,
    COALESCE(c.review, (0)::bigint) AS review,
    COALESCE(c.errors, (0)::bigint) AS errors,
    COALESCE(c.reused, (0)::bigint) AS reused,
    COALESCE(c.asked, (0)::bigint) AS asked,
    COALESCE(w.pending, (0)::bigint) AS pending,
    COALESCE(x.paid_seconds, (0.0)::double precision) AS paid_seconds,
    COALESCE(x.idle_seconds, (0.0)::double precision) AS idle_seconds,
    COALESCE(x.cost, (0.0)::double precision) AS cost,
    ((COALESCE(x.cost, (0.0)::double precision) * (1000.0)::double precision) / (NULLIF((((c.accepted + c.rejected) + c.review) + c.errors), 0))::double precision) AS cost_per_thousand_images,
    r.current_decision AS decision
   FROM ((((((public.runs r
     JOIN public.decisions dc ON (((dc.run_id = r.id) AND (dc.number = r.current_decision))))
     JOIN public.policies p ON ((p.id = dc.policy_id)))
     LEFT JOIN public.models m ON ((m.id = r.model_id)))
     LEFT JOIN counted c ON ((c.run_id = r.id)))
     LEFT JOIN waiting w ON ((w.run_id = r.id)))
     LEFT JOIN paid x ON ((x.run_id = r.run_id)));


--
-- Name: verdict_history; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.verdict_history AS
 SELECT i.id AS inspection_id,
    r.run_id,
    i.line_number,
    i.source_ref,
    dc.number AS decision,
        CASE
            WHEN (dc.number = 1) THEN i.verdict
            ELSE v.verdict
        END AS verdict,
        CASE
            WHEN (dc.number = 1) THEN i.reasons
            ELSE v.reasons
        END AS reasons,
    p.sha256 AS policy_sha256,
    dc.decided_by,
    dc.decided_at,
    (r.current_decision = dc.number) AS current
   FROM ((((public.inspections i
     JOIN public.runs r ON ((r.id = i.run_id)))
     JOIN public.decisions dc ON ((dc.run_id = i.run_id)))
     JOIN public.policies p ON ((p.id = dc.policy_id)))
     LEFT JOIN public.verdicts v ON (((v.inspection_id = i.id) AND (v.decision_id = dc.id))))
  WHERE ((i.verdict IS NOT NULL) AND ((dc.number = 1) OR (v.id IS NOT NULL)));


--
-- Data for Name: alembic_version; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.alembic_version VALUES ('0002');


--
-- Data for Name: anomalies; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.anomalies VALUES (5000001, 0, 'background', 0.98, NULL);
INSERT INTO public.anomalies VALUES (5000001, 1, 'scratch', 0.02, '#00FF00');


--
-- Data for Name: audit_log; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_log VALUES (1, 1, '2026-11-26 20:12:14.936916+00', 'lfv', 'model.registered', 'arn:aws:lookoutvision:us-east-1:000000000000:model/bottles/1', '{"rows":[["models",1,1,"35a764a53fda7330274dd59dafb45850abdbd0a46858ecfe2b55f5e1ef0c9f02"]]}', '0000000000000000000000000000000000000000000000000000000000000000', '2cf139fa3433c4c68f2e1cf5e6eb6a637b6fe8bc5c6d762a7df652223b1a2cf0');
INSERT INTO public.audit_log VALUES (2, 2, '2026-11-26 20:12:15.045391+00', 'lfv', 'run.started', '11111111-1111-4111-8111-111111111111', '{"rows":[["policies",1,1,"3e7b1335c48d9ba35d4679e3af0312848fd9cfa59fdff901c8f0a1dd35399f76"],["runs",1,1,"1bac615937a9edd69b9740b7d4a9a313fdf9977c01d353c44aed89b86e800311"],["decisions",1,1,"357c3312602a64df2f1f6c9c0a89503b06765b52877c1d8a837bdae9155ba778"]]}', '2cf139fa3433c4c68f2e1cf5e6eb6a637b6fe8bc5c6d762a7df652223b1a2cf0', 'd7cf0357cabc255de1379ebdbe6408d278d6f01d8cf6334fb1163a5b6fa739eb');
INSERT INTO public.audit_log VALUES (3, 3, '2026-11-26 20:12:15.278365+00', 'lfv', 'lease.acquired', '11111111-1111-4111-8111-111111111111', '{"rows":[["hostings",1,1,"020737f3fad902a8ca8e5d7dcc9a24a13254cf734ba474b9f6b84affa4e148e9"],["leases",1,1,"d64a862d89a2a7e93d3ae96b2dc631dc020db7fc4a8a5eb368aed0ef49d6d3ce"]]}', 'd7cf0357cabc255de1379ebdbe6408d278d6f01d8cf6334fb1163a5b6fa739eb', 'd0448c23e501c4536142d82c68ccba3f2477742b88b19a5d11d61f202f166223');
INSERT INTO public.audit_log VALUES (4, 4, '2026-11-26 20:12:15.294263+00', 'lfv', 'hosting.hosted', '1', '{"rows":[["hostings",1,1,"ab7ae9210e5e89bb6e93729de2bcef6e132efa425f7b9006ab6282a598def852"]]}', 'd0448c23e501c4536142d82c68ccba3f2477742b88b19a5d11d61f202f166223', '9dffbcf04da6ffed339785423c1d5ff92cae9adbddc2644ed55670626183d80d');
INSERT INTO public.audit_log VALUES (5, 5, '2026-11-26 20:12:15.397002+00', 'lfv', 'inspections.recorded', '11111111-1111-4111-8111-111111111111', '{"bulk":{"anomalies":{"layout":1,"marks":"gMAsuqHQscw=","rows":2,"sha256":"9224ea4718b593d38cfc8e52cf610906b418eaa8d6e6764e3cb66090546ea2fe"},"detections":{"layout":1,"marks":"9jV/5Eokcki80tEI","rows":3,"sha256":"97d9e291d33db0b983a5e2a7179336d14da54cfa109213dff09ab5cbed6fb640"},"images":{"layout":1,"marks":"ZwqPf/pQvS956BctZh68ig==","rows":4,"sha256":"753f35ab2e6c6a344a08cc99bbba28a94e52d7942a60df52cdb01734de926401"},"inspection_attributes":{"layout":1,"marks":"HudKOUyYPIrhk/VHg+irT1n25hN+SXbZ/4mOlGFMIWQFV/Q6YoZv4nMrUyGajXek","rows":12,"sha256":"13b7153010fc7937db743e0017ff9bb5800ad39d9730998c3c4ec3c40cafb8e6"},"inspections":{"layout":1,"marks":"6iVW5FbhXn3Sn71wO4d+lQ==","rows":4,"sha256":"12bcd4c2970630ca26cac6c3a57bc90d588dcbeb388723a2fbea593ab4f60a4b"}},"rows":[["hosting_usage",1,1,"f690ee7688ebbd7039721846dbdc98cfc13c98c31f8598296b2b19104190a584"]]}', '9dffbcf04da6ffed339785423c1d5ff92cae9adbddc2644ed55670626183d80d', '2739d2b4dffe849b4542a4c07361510c35ec9bdfda39fc6b1742bab57f8691e8');
INSERT INTO public.audit_log VALUES (6, 6, '2026-11-26 20:12:15.476543+00', 'lfv', 'inspections.recorded', '11111111-1111-4111-8111-111111111111', '{"bulk":{"inspection_attributes":{"layout":1,"marks":"sU4H80lPk3FSB9iE","rows":3,"sha256":"81a89ae23877efa7cef86725cbcb9741382f904b9a54e3886d7e42afe0f2eba7"},"inspections":{"layout":1,"marks":"wO8pNw==","rows":1,"sha256":"decab7f94f28758b1202cf4a1c766e90ca23ac48832ac15424a715382d3fb463"}}}', '2739d2b4dffe849b4542a4c07361510c35ec9bdfda39fc6b1742bab57f8691e8', '9241cf6ec2de1addaaae71ae51c36a85cce26399e5a3efdfb496df29f9129f95');
INSERT INTO public.audit_log VALUES (7, 7, '2026-11-26 20:12:15.50912+00', 'lfv', 'run.manifest', '11111111-1111-4111-8111-111111111111', '{"rows":[["runs",1,1,"086572d605e6335579995fbad3a3d42f4eb6d52b7169dcec57ff8fb3e474869e"]]}', '9241cf6ec2de1addaaae71ae51c36a85cce26399e5a3efdfb496df29f9129f95', '595b3f7fcd4e995b29d9ffef8bc915b346feac12efd7d75756949348a607faf9');
INSERT INTO public.audit_log VALUES (8, 8, '2026-11-26 20:12:15.572851+00', 'lfv', 'lease.released', '1', '{"rows":[["leases",1,1,"9161fad6fd2fa7a91595e7a21cc87b31e31793c510162e8d3433626906dc1d39"],["hostings",1,1,"bcdb8a52dc6776cf0755e700a67469e6b689f02fe971ee8af6de3de4738a6634"]]}', '595b3f7fcd4e995b29d9ffef8bc915b346feac12efd7d75756949348a607faf9', 'b0e51e8f4b6488ccb94f608efec2268e532ea645090bd689a059784822aea769');
INSERT INTO public.audit_log VALUES (9, 9, '2026-11-26 20:12:15.589036+00', 'lfv', 'hosting.stopped', '1', '{"rows":[["hostings",1,1,"d666d119fc5190e90ac7c91fda774feede2c1ea7fcddca9d47862fa5d6af3443"]]}', 'b0e51e8f4b6488ccb94f608efec2268e532ea645090bd689a059784822aea769', 'c5321e4ab1264630540ac459d8e381be2683912e59a4f2872f6f3f9605428b6c');
INSERT INTO public.audit_log VALUES (10, 10, '2026-11-26 20:12:15.617541+00', 'lfv', 'run.completed', '11111111-1111-4111-8111-111111111111', '{"rows":[["runs",1,1,"4f5f1ff2da53f038799be5d957ee10ad6d32911bbaf2ffbc35dd00050aa36158"]]}', 'c5321e4ab1264630540ac459d8e381be2683912e59a4f2872f6f3f9605428b6c', '3eb840f15453b37d5fb72857e2de8a77d36285244a158a15ec9a579d68203495');
INSERT INTO public.audit_log VALUES (11, 11, '2026-11-26 20:12:15.697515+00', 'lfv', 'decision.begun', '11111111-1111-4111-8111-111111111111', '{"rows":[["policies",2,1,"0a06f1530e5dbfe43feb0aa553ff4c7ea7fa64517974602ed4075c20f92f3497"],["decisions",2,1,"375cfb88aa2ead0b9e5611a82dbb489b351ca3a972377eea43b48a96d1bc4b33"]]}', '3eb840f15453b37d5fb72857e2de8a77d36285244a158a15ec9a579d68203495', 'f6945da3c8cd79416b73d7e5df2066b45442c196d28143d23967518a3405f97b');
INSERT INTO public.audit_log VALUES (12, 12, '2026-11-26 20:12:15.715231+00', 'lfv', 'verdicts.recorded', '11111111-1111-4111-8111-111111111111', '{"bulk":{"verdicts":{"layout":1,"marks":"16HJT5Yk0YzrIzbSHI6J9w==","rows":4,"sha256":"e20fb7afc6243b7c5de1e0503fdc84e457f680194c7c0449ad8eed3deebed927"}}}', 'f6945da3c8cd79416b73d7e5df2066b45442c196d28143d23967518a3405f97b', '871169b7d1d19493aaccf6b10401095a5b6db770df5e50dd0915811fcfa0668e');
INSERT INTO public.audit_log VALUES (13, 13, '2026-11-26 20:12:15.72366+00', 'lfv', 'decision.effective', '11111111-1111-4111-8111-111111111111', '{"rows":[["runs",1,1,"fddba9429d1ea1455158ec55b0443fe9ead913608f3c5139217685a55f30513b"]]}', '871169b7d1d19493aaccf6b10401095a5b6db770df5e50dd0915811fcfa0668e', '898b8d276448ee57c0203eb81d128a8add87edd6c695a58f2b41971f8864a0ff');
INSERT INTO public.audit_log VALUES (14, 14, '2026-11-26 20:12:15.755963+00', 'Eve', 'review.added', '5000001', '{"rows":[["reviews",1,1,"25c7feb8f481c36e7215d9f9532e480c765340f8872efef00df18b06a7febf7a"]]}', '898b8d276448ee57c0203eb81d128a8add87edd6c695a58f2b41971f8864a0ff', 'eac3c22396f6e5ec6da5e864789bd8ce4d85caf04c097d54cf3f8da2e3deb705');
INSERT INTO public.audit_log VALUES (15, 15, '2026-11-26 20:12:15.918521+00', 'lfv', 'run.started', '22222222-2222-4222-8222-222222222222', '{"rows":[["runs",2,1,"fda4027b1fbb40a14d74752f940d444ed4eb16baa9204470e5936614b380a29b"],["decisions",3,1,"19aca30405cfae244825a834d2fb1d409bae3205018fbdb63d555c22d37a9f60"]]}', 'eac3c22396f6e5ec6da5e864789bd8ce4d85caf04c097d54cf3f8da2e3deb705', 'c0d59a86da97f43d3b1a0a4811208e555e3d25608b9a15ee972cf4faadb757ce');
INSERT INTO public.audit_log VALUES (16, 16, '2026-11-26 20:12:16.064576+00', 'lfv', 'lease.acquired', '22222222-2222-4222-8222-222222222222', '{"rows":[["hostings",2,1,"162cbfca5e8d167066805be8fb38fa16707c4aa42913a8137ac58c3622ae1d6c"],["leases",2,1,"cd0db758b9da95c04c82c73fb1b31ed863b76cfff53192a07b5e8985c2f8c175"]]}', 'c0d59a86da97f43d3b1a0a4811208e555e3d25608b9a15ee972cf4faadb757ce', '95eedd464858472d6ea653128220ab29d5272fab3678a2a8caedeb3875a11814');
INSERT INTO public.audit_log VALUES (17, 17, '2026-11-26 20:12:16.166691+00', 'lfv', 'hosting.hosted', '2', '{"rows":[["hostings",2,1,"e66092d496f38e209c8005166d6a1c92c60022e4467a56c60666f65ff41b244c"]]}', '95eedd464858472d6ea653128220ab29d5272fab3678a2a8caedeb3875a11814', '7ac3086e9059bffa6d9a15b6938a827668047f47799e2dc8a773d5d7cb1984b2');
INSERT INTO public.audit_log VALUES (18, 18, '2026-11-26 20:12:16.184261+00', 'lfv', 'inspections.recorded', '22222222-2222-4222-8222-222222222222', '{"bulk":{"detections":{"layout":1,"marks":"JTdPjg==","rows":1,"sha256":"fbb2f90a64c8abc6d6b1f7e93b614e50001300ce2c13d5909823e831b6c1af24"},"images":{"layout":1,"marks":"LGD4jw==","rows":1,"sha256":"2e4f7b8486ff4e7082e4858d348394c80ea1aa23c42645b6720798c39e285e69"},"inspection_attributes":{"layout":1,"marks":"AAa6GynB5dkJUQoo","rows":3,"sha256":"2b6a7cd6fb95cb5d2872342f0dd7e52028d6ceb8b028dc372e0fb3521a16f384"},"inspections":{"layout":1,"marks":"8uNBWQ==","rows":1,"sha256":"a5db0a3f55974ed3aaedf47401adeebf4860aa09f9f8e907446ef8c4c8b914a1"}},"rows":[["hosting_usage",2,1,"6470cf596bf83e223b4783f029dd208fbec1fdbacb5eafc3017daa5bc98abae3"]]}', '7ac3086e9059bffa6d9a15b6938a827668047f47799e2dc8a773d5d7cb1984b2', 'd8c12ef1e8fe3b2563f325a65a0e7a9a03cd34e5768a778b83e733d68367c4c8');
INSERT INTO public.audit_log VALUES (19, 19, '2026-11-26 20:12:16.198925+00', 'lfv', 'lease.released', '2', '{"rows":[["leases",2,1,"b248ab3a80f9c6a8c89ed4c51f2d99581f4a3daed9f2c0c23ce365168a2fd718"],["hostings",2,1,"8481793107d93c921497241780c9f30cb59c36a37091b8eb87db2af0d699eac7"]]}', 'd8c12ef1e8fe3b2563f325a65a0e7a9a03cd34e5768a778b83e733d68367c4c8', '95bacfdaa3a77fd0f4864e285bb04300d58d10c9ad7701d14aa20b3a08ff73fd');
INSERT INTO public.audit_log VALUES (20, 20, '2026-11-26 20:12:16.203297+00', 'lfv', 'hosting.stopped', '2', '{"rows":[["hostings",2,1,"12c5d33258a23857465dd394c0e8035ad37b6b99ceb87d58371c7ad2c3f3e1a4"]]}', '95bacfdaa3a77fd0f4864e285bb04300d58d10c9ad7701d14aa20b3a08ff73fd', 'bf80a8188f0858f7685df33bc7289a2378592e8b1049a2ccfece802a9c3cb084');
INSERT INTO public.audit_log VALUES (21, 21, '2026-11-26 20:12:16.213893+00', 'lfv', 'run.interrupted', '22222222-2222-4222-8222-222222222222', '{"rows":[["runs",2,1,"586a1fb8667a6878e55ab705687c92bf767c751e434fe28a11eac5b46c2aebcc"]]}', 'bf80a8188f0858f7685df33bc7289a2378592e8b1049a2ccfece802a9c3cb084', 'c1967e05c44ab989ac1df432072d0d4938918f1e03a961d178a158268faed5b6');


--
-- Data for Name: decisions; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.decisions VALUES (1, 1, 1, 1, 'ana', '2026-03-04 05:06:07.123456+00');
INSERT INTO public.decisions VALUES (2, 1, 2, 2, 'quinn', '2026-11-26 20:12:15.697515+00');
INSERT INTO public.decisions VALUES (3, 2, 1, 1, 'ana', '2026-03-04 05:06:07.123456+00');


--
-- Data for Name: detections; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.detections VALUES (5000000, 1, 5000002, 1, false, 0.71, '{"Confidence":0.71,"IsAnomalous":false,"Source":{"Type":"direct"}}', NULL, 'request-1', 12.5, '2026-03-04 05:07:48.123456+00');
INSERT INTO public.detections VALUES (5000001, 1, 5000003, 1, true, 0.72, '{"Anomalies":[{"Name":"background","PixelAnomaly":{"TotalPercentageArea":0.98}},{"Name":"scratch","PixelAnomaly":{"Color":"#00FF00","TotalPercentageArea":0.02}}],"Confidence":0.72,"IsAnomalous":true,"Source":{"Type":"direct"}}', '48bf9b4f142ab45cac6f33cf99415bca6ca8e07608a031237aa76560fec2204b', 'request-2', 12.5, '2026-03-04 05:07:49.123456+00');
INSERT INTO public.detections VALUES (5000002, 1, 5000000, 1, false, 0.74, '{"Confidence":0.74,"IsAnomalous":false,"Source":{"Type":"direct"}}', NULL, 'request-4', 12.5, '2026-03-04 05:07:51.123456+00');
INSERT INTO public.detections VALUES (18000000, 1, 18000000, 2, false, 0.8099999999999999, '{"Confidence":0.8099999999999999,"IsAnomalous":false,"Source":{"Type":"direct"}}', NULL, 'request-11', 12.5, '2026-03-04 05:07:58.123456+00');


--
-- Data for Name: hosting_usage; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.hosting_usage VALUES (1, 1, 1, 3, '2026-03-04 05:07:48.123456+00', '2026-03-04 05:07:51.123456+00');
INSERT INTO public.hosting_usage VALUES (2, 2, 2, 1, '2026-03-04 05:07:58.123456+00', '2026-03-04 05:07:58.123456+00');


--
-- Data for Name: hostings; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.hostings VALUES (1, 1, 'stopped', true, '0b9bacba84954e46bfd7a47100724794', '{"kind":"lookoutvision","project":"bottles"}', 1, NULL, 4, 'hosted', 'stopped', '11111111-1111-4111-8111-111111111111', '2026-03-04 05:06:17.123456+00', '2026-03-04 05:07:17.123456+00', '2026-03-04 05:09:27.123456+00', '2026-03-04 05:10:17.123456+00', NULL, 0, NULL, NULL, NULL);
INSERT INTO public.hostings VALUES (2, 1, 'stopped', true, 'aa7c35d425a64cdd93b340823db0169b', '{"kind":"lookoutvision","project":"bottles"}', 1, NULL, 4, 'hosted', 'stopped', '22222222-2222-4222-8222-222222222222', '2026-03-04 05:11:07.123456+00', '2026-03-04 05:11:17.123456+00', '2026-03-04 05:11:27.123456+00', '2026-03-04 05:11:37.123456+00', NULL, 0, NULL, NULL, NULL);


--
-- Data for Name: images; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.images VALUES (5000000, '4b227777d4dd1fc61c6f884f48641d02b4d121d3fd328cb08b5531fcacdabf8a', 'PNG', 640, 480, 100000);
INSERT INTO public.images VALUES (5000001, '4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce', 'PNG', 640, 480, 100000);
INSERT INTO public.images VALUES (5000002, '6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b', 'PNG', 640, 480, 100000);
INSERT INTO public.images VALUES (5000003, 'd4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35', 'PNG', 640, 480, 100000);
INSERT INTO public.images VALUES (18000000, '4fc82b26aecb47d2868c4efbe3581732a3e7cbcc6c2efb32062c08170a05eeb8', 'PNG', 640, 480, 100000);


--
-- Data for Name: inspection_attributes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.inspection_attributes VALUES (5000000, 'lot', 'L41');
INSERT INTO public.inspection_attributes VALUES (5000000, 'serial', 'SN000001');
INSERT INTO public.inspection_attributes VALUES (5000000, 'umlaut', 'Größe');
INSERT INTO public.inspection_attributes VALUES (5000001, 'lot', 'L41');
INSERT INTO public.inspection_attributes VALUES (5000001, 'serial', 'SN000002');
INSERT INTO public.inspection_attributes VALUES (5000001, 'umlaut', 'Größe');
INSERT INTO public.inspection_attributes VALUES (5000002, 'lot', 'L41');
INSERT INTO public.inspection_attributes VALUES (5000002, 'serial', 'SN000003');
INSERT INTO public.inspection_attributes VALUES (5000002, 'umlaut', 'Größe');
INSERT INTO public.inspection_attributes VALUES (5000003, 'lot', 'L41');
INSERT INTO public.inspection_attributes VALUES (5000003, 'serial', 'SN000004');
INSERT INTO public.inspection_attributes VALUES (5000003, 'umlaut', 'Größe');
INSERT INTO public.inspection_attributes VALUES (6000000, 'lot', 'L41');
INSERT INTO public.inspection_attributes VALUES (6000000, 'serial', 'SN000005');
INSERT INTO public.inspection_attributes VALUES (6000000, 'umlaut', 'Größe');
INSERT INTO public.inspection_attributes VALUES (18000000, 'lot', 'L41');
INSERT INTO public.inspection_attributes VALUES (18000000, 'serial', 'SN000011');
INSERT INTO public.inspection_attributes VALUES (18000000, 'umlaut', 'Größe');


--
-- Data for Name: inspections; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.inspections VALUES (5000000, 1, 1, 's3://lots/1.png', 5000002, 5000000, false, 'accept', '[{"limit":0.8,"rule":"confidence","value":0.71}]', NULL, NULL, 1, '{"lot":"L41","serial":"SN000001","umlaut":"Größe"}', false, NULL, '2026-03-04 05:07:48.123456+00');
INSERT INTO public.inspections VALUES (5000001, 1, 2, 's3://lots/2.png', 5000003, 5000001, false, 'reject', '[{"limit":0.8,"rule":"confidence","value":0.72}]', NULL, NULL, 1, '{"lot":"L41","serial":"SN000002","umlaut":"Größe"}', true, NULL, '2026-03-04 05:07:49.123456+00');
INSERT INTO public.inspections VALUES (5000002, 1, 3, 's3://lots/3.png', 5000001, NULL, false, NULL, '[]', 'image_truncated', 'The end is missing.', 1, '{"lot":"L41","serial":"SN000003","umlaut":"Größe"}', false, NULL, '2026-03-04 05:07:50.123456+00');
INSERT INTO public.inspections VALUES (5000003, 1, 4, 's3://lots/4.png', 5000000, 5000002, false, 'review', '[{"limit":0.8,"rule":"confidence","value":0.74}]', NULL, NULL, 1, '{"lot":"L41","serial":"SN000004","umlaut":"Größe"}', false, NULL, '2026-03-04 05:07:51.123456+00');
INSERT INTO public.inspections VALUES (6000000, 1, 5, 's3://lots/5.png', 5000002, 5000000, true, 'accept', '[{"limit":0.8,"rule":"confidence","value":0.75}]', NULL, NULL, 1, '{"lot":"L41","serial":"SN000005","umlaut":"Größe"}', false, NULL, '2026-03-04 05:07:52.123456+00');
INSERT INTO public.inspections VALUES (18000000, 2, 11, 's3://lots/11.png', 18000000, 18000000, false, 'accept', '[{"limit":0.8,"rule":"confidence","value":0.8099999999999999}]', NULL, NULL, 1, '{"lot":"L41","serial":"SN000011","umlaut":"Größe"}', false, NULL, '2026-03-04 05:07:58.123456+00');


--
-- Data for Name: lease_heartbeats; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: leases; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.leases VALUES (1, 1, 1, '2026-03-04 05:06:17.123456+00', '2026-03-04 05:09:27.123456+00', 'released');
INSERT INTO public.leases VALUES (2, 2, 2, '2026-03-04 05:11:07.123456+00', '2026-03-04 05:11:27.123456+00', 'released');


--
-- Data for Name: masks; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.masks VALUES (5000001, '\x6d61736b');


--
-- Data for Name: models; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.models VALUES (1, 'lookoutvision', 'arn:aws:lookoutvision:us-east-1:000000000000:model/bottles/1', 'bottles', '1', '2026-03-04 05:06:07.123456+00', '{}', '2026-11-26 20:12:14.936916+00');


--
-- Data for Name: pending_items; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.pending_items VALUES (2, 12, false, 's3://lots/12.png', '6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918', 'PNG', 640, 480, 100000, '{}', NULL, NULL);
INSERT INTO public.pending_items VALUES (2, 13, false, 's3://lots/13.png', '3fdba35f04dc8c462986c992bcf875546257113072a909c162f7e470e581e278', 'PNG', 640, 480, 100000, '{}', NULL, NULL);


--
-- Data for Name: policies; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.policies VALUES (1, '42586337ab15a2570d1d174ec427ff08cb62de74c91e2b7dc049b8b9d010972c', '{"confidence":0.8}', '2026-11-26 20:12:15.045391+00');
INSERT INTO public.policies VALUES (2, '74f63e2b876961db80056d0a920418a9f381ed69221ea4619929d8d58af5708e', '{"confidence":0.75}', '2026-11-26 20:12:15.697515+00');


--
-- Data for Name: reviews; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.reviews VALUES (1, 5000001, 'reject', 'Eve', '', '2026-03-04 05:06:07.123456+00');


--
-- Data for Name: run_progress; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.run_progress VALUES (1, 0);
INSERT INTO public.run_progress VALUES (2, 13);


--
-- Data for Name: runs; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.runs VALUES (1, '11111111-1111-4111-8111-111111111111', 1, 'bottles', '1', 'lookoutvision', 's3://lots/lot-41.manifest', 'abababababababababababababababababababababababababababababababab', 5, 1, 2, 2, 'ana', NULL, '', '{"project":"bottles","source":"s3://lots/lot-41.manifest"}', 'completed', NULL, '2026-03-04 05:06:07.123456+00', '2026-03-04 05:10:27.123456+00');
INSERT INTO public.runs VALUES (2, '22222222-2222-4222-8222-222222222222', 1, 'bottles', '1', 'lookoutvision', 's3://lots/lot-41.manifest', NULL, NULL, 1, 1, NULL, 'ana', NULL, '', '{"project":"bottles","source":"s3://lots/lot-41.manifest"}', 'interrupted', 'the limit is reached', '2026-03-04 05:06:07.123456+00', '2026-03-04 05:11:38.123456+00');


--
-- Data for Name: tallies; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.tallies VALUES (1, '2026-03-04', 3, 1, 0, 1, 1, 3);
INSERT INTO public.tallies VALUES (2, '2026-03-04', 1, 0, 0, 0, 0, 1);


--
-- Data for Name: verdicts; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.verdicts VALUES (12000000, 2, 5000000, 'accept', '[]');
INSERT INTO public.verdicts VALUES (12000001, 2, 5000001, 'reject', '[]');
INSERT INTO public.verdicts VALUES (12000002, 2, 5000003, 'accept', '[]');
INSERT INTO public.verdicts VALUES (12000003, 2, 6000000, 'accept', '[]');


--
-- Name: audit_changes; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.audit_changes', 21, true);


--
-- Name: alembic_version alembic_version_pkc; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);


--
-- Name: anomalies pk_anomalies; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.anomalies
    ADD CONSTRAINT pk_anomalies PRIMARY KEY (detection_id, "position");


--
-- Name: audit_log pk_audit_log; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT pk_audit_log PRIMARY KEY (seq);


--
-- Name: decisions pk_decisions; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT pk_decisions PRIMARY KEY (id);


--
-- Name: detections pk_detections; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.detections
    ADD CONSTRAINT pk_detections PRIMARY KEY (id);


--
-- Name: hosting_usage pk_hosting_usage; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hosting_usage
    ADD CONSTRAINT pk_hosting_usage PRIMARY KEY (id);


--
-- Name: hostings pk_hostings; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hostings
    ADD CONSTRAINT pk_hostings PRIMARY KEY (id);


--
-- Name: images pk_images; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.images
    ADD CONSTRAINT pk_images PRIMARY KEY (id);


--
-- Name: inspection_attributes pk_inspection_attributes; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.inspection_attributes
    ADD CONSTRAINT pk_inspection_attributes PRIMARY KEY (inspection_id, name);


--
-- Name: inspections pk_inspections; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.inspections
    ADD CONSTRAINT pk_inspections PRIMARY KEY (id);


--
-- Name: lease_heartbeats pk_lease_heartbeats; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.lease_heartbeats
    ADD CONSTRAINT pk_lease_heartbeats PRIMARY KEY (lease_id);


--
-- Name: leases pk_leases; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT pk_leases PRIMARY KEY (id);


--
-- Name: masks pk_masks; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.masks
    ADD CONSTRAINT pk_masks PRIMARY KEY (detection_id);


--
-- Name: models pk_models; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.models
    ADD CONSTRAINT pk_models PRIMARY KEY (id);


--
-- Name: pending_items pk_pending_items; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.pending_items
    ADD CONSTRAINT pk_pending_items PRIMARY KEY (run_id, line_number);


--
-- Name: policies pk_policies; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policies
    ADD CONSTRAINT pk_policies PRIMARY KEY (id);


--
-- Name: reviews pk_reviews; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.reviews
    ADD CONSTRAINT pk_reviews PRIMARY KEY (id);


--
-- Name: run_progress pk_run_progress; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.run_progress
    ADD CONSTRAINT pk_run_progress PRIMARY KEY (run_id);


--
-- Name: runs pk_runs; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT pk_runs PRIMARY KEY (id);


--
-- Name: tallies pk_tallies; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tallies
    ADD CONSTRAINT pk_tallies PRIMARY KEY (run_id, day);


--
-- Name: verdicts pk_verdicts; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.verdicts
    ADD CONSTRAINT pk_verdicts PRIMARY KEY (id);


--
-- Name: audit_log uq_audit_log_change; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT uq_audit_log_change UNIQUE (change);


--
-- Name: decisions uq_decisions_run_id_number; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT uq_decisions_run_id_number UNIQUE (run_id, number);


--
-- Name: hosting_usage uq_hosting_usage_run_id_hosting_id; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hosting_usage
    ADD CONSTRAINT uq_hosting_usage_run_id_hosting_id UNIQUE (run_id, hosting_id);


--
-- Name: hostings uq_hostings_client_token; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hostings
    ADD CONSTRAINT uq_hostings_client_token UNIQUE (client_token);


--
-- Name: images uq_images_sha256; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.images
    ADD CONSTRAINT uq_images_sha256 UNIQUE (sha256);


--
-- Name: inspections uq_inspections_run_id_line_number; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.inspections
    ADD CONSTRAINT uq_inspections_run_id_line_number UNIQUE (run_id, line_number);


--
-- Name: models uq_models_identity; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.models
    ADD CONSTRAINT uq_models_identity UNIQUE (host, model_arn, project_name, model_version, created_at);


--
-- Name: policies uq_policies_sha256; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policies
    ADD CONSTRAINT uq_policies_sha256 UNIQUE (sha256);


--
-- Name: runs uq_runs_run_id; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT uq_runs_run_id UNIQUE (run_id);


--
-- Name: verdicts uq_verdicts_inspection_id_decision_id; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.verdicts
    ADD CONSTRAINT uq_verdicts_inspection_id_decision_id UNIQUE (inspection_id, decision_id);


--
-- Name: ix_anomalies_name_total_percentage_area; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_anomalies_name_total_percentage_area ON public.anomalies USING btree (name, total_percentage_area);


--
-- Name: ix_audit_log_subject; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_audit_log_subject ON public.audit_log USING btree (subject);


--
-- Name: ix_detections_image_id_model_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_detections_image_id_model_id ON public.detections USING btree (image_id, model_id);


--
-- Name: ix_detections_with_mask; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_detections_with_mask ON public.detections USING btree (id) WHERE (mask_sha256 IS NOT NULL);


--
-- Name: ix_hostings_model_id_requested_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_hostings_model_id_requested_at ON public.hostings USING btree (model_id, requested_at);


--
-- Name: ix_inspection_attributes_name_value; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_inspection_attributes_name_value ON public.inspection_attributes USING btree (name, value);


--
-- Name: ix_inspections_detection_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_inspections_detection_id ON public.inspections USING btree (detection_id);


--
-- Name: ix_inspections_errors; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_inspections_errors ON public.inspections USING btree (run_id, error_code) WHERE (error_code IS NOT NULL);


--
-- Name: ix_inspections_image_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_inspections_image_id ON public.inspections USING btree (image_id);


--
-- Name: ix_inspections_inspected_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_inspections_inspected_at ON public.inspections USING btree (inspected_at);


--
-- Name: ix_inspections_rejected; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_inspections_rejected ON public.inspections USING btree (run_id, line_number) WHERE (verdict = 'reject'::text);


--
-- Name: ix_inspections_waiting; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_inspections_waiting ON public.inspections USING btree (run_id, line_number) WHERE (verdict = 'review'::text);


--
-- Name: ix_leases_hosting_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_leases_hosting_id ON public.leases USING btree (hosting_id);


--
-- Name: ix_leases_run_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_leases_run_id ON public.leases USING btree (run_id);


--
-- Name: ix_models_project_name_model_version; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_models_project_name_model_version ON public.models USING btree (project_name, model_version);


--
-- Name: ix_pending_items_run_id_duplicate_line_number; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_pending_items_run_id_duplicate_line_number ON public.pending_items USING btree (run_id, duplicate, line_number);


--
-- Name: ix_pending_items_run_id_image_sha256; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_pending_items_run_id_image_sha256 ON public.pending_items USING btree (run_id, image_sha256);


--
-- Name: ix_reviews_inspection_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_reviews_inspection_id ON public.reviews USING btree (inspection_id);


--
-- Name: ix_reviews_reviewed_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_reviews_reviewed_at ON public.reviews USING btree (reviewed_at);


--
-- Name: ix_reviews_reviewer; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_reviews_reviewer ON public.reviews USING btree (reviewer);


--
-- Name: ix_runs_flow_run_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_flow_run_id ON public.runs USING btree (flow_run_id);


--
-- Name: ix_runs_model_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_model_id ON public.runs USING btree (model_id);


--
-- Name: ix_runs_started_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_runs_started_at ON public.runs USING btree (started_at);


--
-- Name: ix_verdicts_decision_id_verdict; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_verdicts_decision_id_verdict ON public.verdicts USING btree (decision_id, verdict);


--
-- Name: uq_hostings_open; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX uq_hostings_open ON public.hostings USING btree (model_id) WHERE (status = ANY (ARRAY['requested'::text, 'hosted'::text, 'stop_requested'::text]));


--
-- Name: anomalies anomalies_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER anomalies_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.anomalies FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: audit_log audit_log_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER audit_log_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit_log FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: decisions decisions_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER decisions_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.decisions FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: detections detections_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER detections_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.detections FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: images images_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER images_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.images FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: inspection_attributes inspection_attributes_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER inspection_attributes_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.inspection_attributes FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: inspections inspections_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER inspections_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.inspections FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: masks masks_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER masks_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.masks FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: models models_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER models_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.models FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: policies policies_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER policies_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.policies FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: reviews reviews_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER reviews_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.reviews FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: verdicts verdicts_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER verdicts_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.verdicts FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: anomalies fk_anomalies_detection_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.anomalies
    ADD CONSTRAINT fk_anomalies_detection_id FOREIGN KEY (detection_id) REFERENCES public.detections(id);


--
-- Name: decisions fk_decisions_policy_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT fk_decisions_policy_id FOREIGN KEY (policy_id) REFERENCES public.policies(id);


--
-- Name: decisions fk_decisions_run_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT fk_decisions_run_id FOREIGN KEY (run_id) REFERENCES public.runs(id);


--
-- Name: detections fk_detections_image_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.detections
    ADD CONSTRAINT fk_detections_image_id FOREIGN KEY (image_id) REFERENCES public.images(id);


--
-- Name: detections fk_detections_model_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.detections
    ADD CONSTRAINT fk_detections_model_id FOREIGN KEY (model_id) REFERENCES public.models(id);


--
-- Name: detections fk_detections_run_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.detections
    ADD CONSTRAINT fk_detections_run_id FOREIGN KEY (run_id) REFERENCES public.runs(id);


--
-- Name: hosting_usage fk_hosting_usage_hosting_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hosting_usage
    ADD CONSTRAINT fk_hosting_usage_hosting_id FOREIGN KEY (hosting_id) REFERENCES public.hostings(id);


--
-- Name: hosting_usage fk_hosting_usage_run_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hosting_usage
    ADD CONSTRAINT fk_hosting_usage_run_id FOREIGN KEY (run_id) REFERENCES public.runs(id);


--
-- Name: hostings fk_hostings_model_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.hostings
    ADD CONSTRAINT fk_hostings_model_id FOREIGN KEY (model_id) REFERENCES public.models(id);


--
-- Name: inspection_attributes fk_inspection_attributes_inspection_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.inspection_attributes
    ADD CONSTRAINT fk_inspection_attributes_inspection_id FOREIGN KEY (inspection_id) REFERENCES public.inspections(id);


--
-- Name: inspections fk_inspections_detection_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.inspections
    ADD CONSTRAINT fk_inspections_detection_id FOREIGN KEY (detection_id) REFERENCES public.detections(id);


--
-- Name: inspections fk_inspections_image_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.inspections
    ADD CONSTRAINT fk_inspections_image_id FOREIGN KEY (image_id) REFERENCES public.images(id);


--
-- Name: inspections fk_inspections_run_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.inspections
    ADD CONSTRAINT fk_inspections_run_id FOREIGN KEY (run_id) REFERENCES public.runs(id);


--
-- Name: lease_heartbeats fk_lease_heartbeats_lease_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.lease_heartbeats
    ADD CONSTRAINT fk_lease_heartbeats_lease_id FOREIGN KEY (lease_id) REFERENCES public.leases(id);


--
-- Name: leases fk_leases_hosting_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT fk_leases_hosting_id FOREIGN KEY (hosting_id) REFERENCES public.hostings(id);


--
-- Name: leases fk_leases_run_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT fk_leases_run_id FOREIGN KEY (run_id) REFERENCES public.runs(id);


--
-- Name: masks fk_masks_detection_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.masks
    ADD CONSTRAINT fk_masks_detection_id FOREIGN KEY (detection_id) REFERENCES public.detections(id);


--
-- Name: pending_items fk_pending_items_run_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.pending_items
    ADD CONSTRAINT fk_pending_items_run_id FOREIGN KEY (run_id) REFERENCES public.runs(id);


--
-- Name: reviews fk_reviews_inspection_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.reviews
    ADD CONSTRAINT fk_reviews_inspection_id FOREIGN KEY (inspection_id) REFERENCES public.inspections(id);


--
-- Name: run_progress fk_run_progress_run_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.run_progress
    ADD CONSTRAINT fk_run_progress_run_id FOREIGN KEY (run_id) REFERENCES public.runs(id);


--
-- Name: runs fk_runs_model_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT fk_runs_model_id FOREIGN KEY (model_id) REFERENCES public.models(id);


--
-- Name: runs fk_runs_policy_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT fk_runs_policy_id FOREIGN KEY (policy_id) REFERENCES public.policies(id);


--
-- Name: tallies fk_tallies_run_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tallies
    ADD CONSTRAINT fk_tallies_run_id FOREIGN KEY (run_id) REFERENCES public.runs(id);


--
-- Name: verdicts fk_verdicts_decision_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.verdicts
    ADD CONSTRAINT fk_verdicts_decision_id FOREIGN KEY (decision_id) REFERENCES public.decisions(id);


--
-- Name: verdicts fk_verdicts_inspection_id; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.verdicts
    ADD CONSTRAINT fk_verdicts_inspection_id FOREIGN KEY (inspection_id) REFERENCES public.inspections(id);


--
-- PostgreSQL database dump complete
--

\unrestrict zcmSeBF6oI11CwGVhUCupdwJwFrZ7yRBQJdbOaDUdyXE1xqCaTXTgsmenokBijr

