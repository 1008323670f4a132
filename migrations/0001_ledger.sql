-- +goose Up

-- The ledger: everything that was accepted, planned, claimed and settled.
--
-- Three roles. The one that runs this file owns the tables and is used for
-- nothing else. app_api acts for one tenant per transaction
-- (set_config('app.tenant', …, true); unset sees nothing). app_worker runs the
-- pipeline over all tenants and always joins on (tenant_id, id).

-- +goose StatementBegin
DO $$
DECLARE r text;
BEGIN
  FOREACH r IN ARRAY ARRAY['app_api', 'app_worker'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
      IF NOT (SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'role % does not exist and % may not create it', r, current_user
          USING HINT = format('As a superuser run: CREATE ROLE %I NOSUPERUSER NOBYPASSRLS; then migrate again.', r);
      END IF;
      EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE', r);
    END IF;
  END LOOP;
END $$;
-- +goose StatementEnd

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO app_api, app_worker;

-- One row. clock_high_water keeps app_now() from stepping back when the
-- server's clock does: a step back would re-open a gateway's closed key window.
CREATE TABLE platform (
  singleton        boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  paused_at        timestamptz,
  paused_reason    text,
  clock_high_water timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO platform DEFAULT VALUES;

-- STABLE, so that it can bound an index scan; statement_timestamp and not
-- now(), so that a transaction that waited for a lock does not live in the past.
CREATE FUNCTION app_now() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS 'SELECT greatest(statement_timestamp(), (SELECT clock_high_water FROM platform))';

-- NULLIF, because after one set_config(…, true) the setting is '' and not NULL.
CREATE FUNCTION app_tenant() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
AS 'SELECT NULLIF(current_setting(''app.tenant'', true), '''')::uuid';

CREATE TABLE tenants (
  id            uuid PRIMARY KEY,
  slug          text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  name          text NOT NULL,
  phone         text,                       -- the clinic's own published number
  time_zone     text NOT NULL DEFAULT 'Asia/Seoul',
  send_at       time NOT NULL DEFAULT '10:00',
  quiet_from    time,
  quiet_until   time,
  data_key      bytea,                      -- wrapped by the master key; NULL once erased
  paused_at     timestamptz,
  paused_reason text,
  created_at    timestamptz NOT NULL DEFAULT app_now(),
  updated_at    timestamptz NOT NULL DEFAULT app_now(),
  CHECK ((quiet_from IS NULL) = (quiet_until IS NULL))
);

CREATE TABLE api_keys (
  tenant_id    uuid NOT NULL REFERENCES tenants (id),
  id           uuid NOT NULL,
  name         text NOT NULL,
  prefix       text NOT NULL,               -- shown in lists; not secret
  key_hash     bytea NOT NULL,              -- SHA-256 of 32 random bytes
  role         text NOT NULL CHECK (role IN ('owner', 'staff', 'viewer', 'integration')),
  expires_at   timestamptz,
  last_used_at timestamptz,
  revoked_at   timestamptz,
  created_at   timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id)
);
-- Looked up before the tenant is known.
CREATE UNIQUE INDEX api_keys_hash ON api_keys (key_hash);

CREATE TABLE provider_accounts (
  tenant_id       uuid NOT NULL REFERENCES tenants (id),
  id              uuid NOT NULL,
  channel         text NOT NULL CHECK (channel IN ('kakao', 'sms')),
  vendor          text NOT NULL DEFAULT 'nhn',
  base_url        text NOT NULL,
  credentials     bytea NOT NULL,           -- sealed JSON: app key, secret
  sender          text NOT NULL,            -- Kakao sender key, or registered number
  rate_per_second integer NOT NULL DEFAULT 300 CHECK (rate_per_second > 0),
  enabled         boolean NOT NULL DEFAULT true,
  results_until   timestamptz,              -- message-results were read up to here
  polled_at       timestamptz,              -- by whom is not kept; it is the polling copy's lease
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  updated_at      timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id)
);
-- One account in use per channel, so that a send never has to choose.
CREATE UNIQUE INDEX provider_accounts_channel ON provider_accounts (tenant_id, channel) WHERE enabled;

-- phone, name, email and birth_date are sealed under data_key, which is
-- wrapped by the tenant's. Erasing a patient clears data_key and the indexes.
CREATE TABLE patients (
  tenant_id         uuid NOT NULL REFERENCES tenants (id),
  id                uuid NOT NULL,
  external_id       text,                   -- the clinic's own number
  data_key          bytea,
  name              bytea,
  phone             bytea,
  phone_index       bytea,                  -- keyed blind index of the whole number
  phone_last4_index bytea,
  email             bytea,
  birth_date        bytea,
  gender            text,
  last_visit_date   date,
  last_surgery_date date,
  erased_at         timestamptz,
  created_at        timestamptz NOT NULL DEFAULT app_now(),
  updated_at        timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX patients_external_id ON patients (tenant_id, external_id) WHERE external_id IS NOT NULL;
-- Not unique: a family shares a phone and each member is a patient.
CREATE INDEX patients_phone ON patients (tenant_id, phone_index) WHERE phone_index IS NOT NULL;
CREATE INDEX patients_last4 ON patients (tenant_id, phone_last4_index) WHERE phone_last4_index IS NOT NULL;

CREATE TABLE consents (
  tenant_id    uuid NOT NULL,
  id           uuid NOT NULL,
  patient_id   uuid NOT NULL,
  channel      text NOT NULL CHECK (channel IN ('kakao', 'sms')),
  purpose      text NOT NULL CHECK (purpose IN ('care', 'marketing', 'night_marketing')),
  granted      boolean NOT NULL,
  method       text NOT NULL,
  text_version text NOT NULL DEFAULT '',
  at           timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id)
);
CREATE INDEX consents_patient ON consents (tenant_id, patient_id, purpose, channel, at DESC);

-- An opt-out belongs to the number, so that it outlives a patient's row and
-- holds for a second patient entered with the same number.
CREATE TABLE suppressions (
  tenant_id   uuid NOT NULL REFERENCES tenants (id),
  id          uuid NOT NULL,
  phone_index bytea NOT NULL,
  channel     text CHECK (channel IN ('kakao', 'sms')),            -- NULL: every channel
  class       text CHECK (class IN ('transactional', 'care_followup', 'marketing', 'auth')), -- NULL: every class
  source      text NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT app_now(),
  lifted_at   timestamptz,
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX suppressions_phone ON suppressions (tenant_id, phone_index) WHERE lifted_at IS NULL;

CREATE TABLE appointments (
  tenant_id        uuid NOT NULL,
  id               uuid NOT NULL,
  patient_id       uuid NOT NULL,
  external_id      text,
  appointment_date date NOT NULL,
  appointment_time time,
  status           text NOT NULL DEFAULT 'scheduled' CHECK (status IN ('scheduled', 'completed', 'cancelled', 'no_show')),
  surgery_type     text,
  source_version   bigint NOT NULL DEFAULT 0, -- the source's own sequence: out-of-order events lose to it
  created_at       timestamptz NOT NULL DEFAULT app_now(),
  updated_at       timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id)
);
CREATE UNIQUE INDEX appointments_external_id ON appointments (tenant_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX appointments_date ON appointments (tenant_id, appointment_date);
CREATE INDEX appointments_patient ON appointments (tenant_id, patient_id);

-- kakao_* and sms_* are what is sent; trigger_* and messages are the original
-- marketing templates, which are small workflows.
CREATE TABLE templates (
  tenant_id           uuid NOT NULL REFERENCES tenants (id),
  id                  uuid NOT NULL,
  name                text NOT NULL,
  class               text NOT NULL DEFAULT 'care_followup' CHECK (class IN ('transactional', 'care_followup', 'marketing', 'auth')),
  kakao_template_code text,
  kakao_text          text,
  sms_title           text,
  sms_text            text,
  trigger_type        text,
  trigger_value       integer,
  trigger_unit        text,
  messages            jsonb,
  is_active           boolean NOT NULL DEFAULT true,
  created_at          timestamptz NOT NULL DEFAULT app_now(),
  updated_at          timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name)
);

CREATE TABLE workflows (
  tenant_id           uuid NOT NULL REFERENCES tenants (id),
  id                  uuid NOT NULL,
  name                text NOT NULL,
  trigger_type        text NOT NULL CHECK (trigger_type IN ('post_surgery', 'webhook', 'schedule')),
  target_surgery_type text,
  steps               jsonb NOT NULL DEFAULT '[]',
  visual_data         jsonb,
  is_active           boolean NOT NULL DEFAULT true,
  version             integer NOT NULL DEFAULT 0, -- the published one; 0: never published
  created_at          timestamptz NOT NULL DEFAULT app_now(),
  updated_at          timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name)
);

-- Immutable, templates' texts included: a run is pinned to what it started on.
CREATE TABLE workflow_versions (
  tenant_id   uuid NOT NULL,
  workflow_id uuid NOT NULL,
  version     integer NOT NULL CHECK (version > 0),
  definition  jsonb NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, workflow_id, version),
  FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflows (tenant_id, id)
);

CREATE TABLE webhooks (
  tenant_id           uuid NOT NULL REFERENCES tenants (id),
  id                  uuid NOT NULL,
  name                text NOT NULL,
  workflow_id         uuid,
  secret              bytea NOT NULL,       -- sealed
  previous_secret     bytea,                -- sealed; accepted until …_expires_at
  previous_expires_at timestamptz,
  enabled             boolean NOT NULL DEFAULT true,
  legacy_signature    boolean NOT NULL DEFAULT false, -- x-webhook-signature: no timestamp, so opt-in
  event_id_pointer    text NOT NULL DEFAULT '',       -- for legacy callers; '' means the body's hash
  patient_pointer     text NOT NULL DEFAULT '/patient',
  type_pointer        text NOT NULL DEFAULT '/type',
  create_patients     boolean NOT NULL DEFAULT true,
  routes              jsonb NOT NULL DEFAULT '{}',    -- event type -> [workflow id]
  rate_per_minute     integer NOT NULL DEFAULT 6000 CHECK (rate_per_minute > 0),
  created_at          timestamptz NOT NULL DEFAULT app_now(),
  updated_at          timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name),
  FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflows (tenant_id, id)
);
-- Looked up before the tenant is known.
CREATE UNIQUE INDEX webhooks_id ON webhooks (id);

CREATE TABLE campaigns (
  tenant_id       uuid NOT NULL REFERENCES tenants (id),
  id              uuid NOT NULL,
  name            text NOT NULL,
  template_id     uuid,
  target_patients jsonb NOT NULL DEFAULT '[]',
  status          text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'scheduled', 'running', 'paused', 'completed', 'cancelled')),
  scheduled_at    timestamptz,
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  updated_at      timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, template_id) REFERENCES templates (tenant_id, id)
);

-- wake_at, here and on steps: when release must look at the row again (its
-- time, or the end of a publication's lease); NULL once nothing is left to do.
CREATE TABLE triggers (
  tenant_id   uuid NOT NULL REFERENCES tenants (id),
  id          uuid NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('webhook', 'appointment', 'cron', 'campaign')),
  source      text NOT NULL,                -- who said it: webhook:<id>, cron:<id>, …
  event_id    text COLLATE "C" NOT NULL,    -- the source's own id of the event
  event_type  text NOT NULL DEFAULT '',
  body_hash   bytea NOT NULL,               -- keyed; tells a repeat from a conflict
  state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'planned', 'ignored')),
  reason      text,
  webhook_id  uuid,
  patient_id  uuid,
  payload     bytea,                        -- sealed under payload_key
  payload_key bytea,                        -- wrapped by the tenant's key, by the patient's once known
  wake_at     timestamptz,
  received_at timestamptz NOT NULL DEFAULT app_now(),
  planned_at  timestamptz,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, source, event_id),
  FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhooks (tenant_id, id),
  FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id),
  CHECK ((state = 'pending') = (reason IS NULL))
) WITH (fillfactor = 85);
CREATE INDEX triggers_wake ON triggers (wake_at) WHERE wake_at IS NOT NULL;

CREATE TABLE webhook_executions (
  tenant_id         uuid NOT NULL,
  id                uuid NOT NULL,
  webhook_id        uuid NOT NULL,
  trigger_id        uuid,
  event_id          text NOT NULL DEFAULT '',
  status            text NOT NULL CHECK (status IN ('accepted', 'duplicate', 'conflict', 'refused')),
  response_status   integer NOT NULL,
  response          jsonb NOT NULL DEFAULT '{}',
  payload           bytea,                  -- sealed; kept here only when no trigger keeps it
  payload_key       bytea,
  execution_time_ms integer NOT NULL,
  created_at        timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhooks (tenant_id, id),
  FOREIGN KEY (tenant_id, trigger_id) REFERENCES triggers (tenant_id, id)
);
CREATE INDEX webhook_executions_list ON webhook_executions (tenant_id, webhook_id, created_at DESC);

-- The run. Whoever changes its plan takes this row FOR UPDATE; whoever claims
-- one of its steps or adds a fallback takes it FOR SHARE first.
CREATE TABLE workflow_executions (
  tenant_id      uuid NOT NULL,
  id             uuid NOT NULL,
  workflow_id    uuid NOT NULL,
  version        integer NOT NULL,
  trigger_id     uuid NOT NULL,
  patient_id     uuid NOT NULL,
  appointment_id uuid,
  campaign_id    uuid,
  status         text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'completed', 'failed')),
  reason         text,
  plan_epoch     integer NOT NULL DEFAULT 0,
  expected_steps integer NOT NULL DEFAULT 0,
  execution_data jsonb NOT NULL DEFAULT '{}',
  started_at     timestamptz NOT NULL DEFAULT app_now(),
  completed_at   timestamptz,
  created_at     timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, trigger_id, workflow_id),
  FOREIGN KEY (tenant_id, workflow_id, version) REFERENCES workflow_versions (tenant_id, workflow_id, version),
  FOREIGN KEY (tenant_id, trigger_id) REFERENCES triggers (tenant_id, id),
  FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id),
  FOREIGN KEY (tenant_id, appointment_id) REFERENCES appointments (tenant_id, id),
  FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaigns (tenant_id, id)
) WITH (fillfactor = 80);
CREATE INDEX workflow_executions_patient ON workflow_executions (tenant_id, patient_id, created_at DESC);
CREATE INDEX workflow_executions_list ON workflow_executions (tenant_id, workflow_id, created_at DESC);

-- attempt is the fence of claims, plan_epoch the version of the plan; neither
-- ever stands in for the other. Patient and workflow are the run's.
CREATE TABLE steps (
  tenant_id       uuid NOT NULL,
  id              uuid NOT NULL,
  execution_id    uuid NOT NULL,
  node            text NOT NULL,            -- which step of the definition
  root_id         uuid NOT NULL,            -- the step that a fallback goes back to; itself otherwise
  parent_id       uuid,                     -- the failed step that this one replaces
  channel         text NOT NULL CHECK (channel IN ('kakao', 'sms')),
  lane            text NOT NULL DEFAULT 'care' CHECK (lane IN ('care', 'bulk')),
  state           text NOT NULL DEFAULT 'planned' CHECK (state IN
                    ('planned', 'claimed', 'unknown', 'sent', 'delivered', 'failed', 'parked', 'cancelled', 'skipped', 'expired')),
  reason          text,
  due_at          timestamptz NOT NULL,
  expires_at      timestamptz NOT NULL,
  late            text NOT NULL DEFAULT 'send' CHECK (late IN ('send', 'skip', 'expire')),
  fallback        boolean NOT NULL DEFAULT false, -- an SMS may follow a proven failure
  on_unknown      text NOT NULL DEFAULT 'park' CHECK (on_unknown IN ('park', 'resend', 'fallback')),
  queue           text NOT NULL DEFAULT 'care' CHECK (queue IN ('care', 'bulk', 'resolve')), -- who looks at wake_at: release (its lane) or the resolver
  wake_at         timestamptz,
  published       boolean NOT NULL DEFAULT false, -- wake_at is the end of a lease, not the due time
  attempt         integer NOT NULL DEFAULT 0,
  plan_epoch      integer NOT NULL DEFAULT 0,
  first_intent_at timestamptz,              -- the gateway's key window opened here
  claimed_at      timestamptz,
  sent_at         timestamptz,
  delivered_at    timestamptz,
  request_id      text,
  request_seq     integer,
  code            text,
  created_at      timestamptz NOT NULL DEFAULT app_now(),
  updated_at      timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, execution_id, node, channel),
  FOREIGN KEY (tenant_id, execution_id) REFERENCES workflow_executions (tenant_id, id),
  CHECK ((state IN ('planned', 'claimed', 'unknown', 'sent')) OR reason IS NOT NULL)
) WITH (fillfactor = 70);
-- At most one fallback per step, whichever way the proof came.
CREATE UNIQUE INDEX steps_fallback ON steps (tenant_id, parent_id) WHERE parent_id IS NOT NULL;
-- Read tenant by tenant and queue by queue, so that one clinic's backlog does
-- not stand before another's reminder. A claim changes none of its columns and
-- stays a heap-only update.
CREATE INDEX steps_wake ON steps (tenant_id, queue, wake_at) WHERE wake_at IS NOT NULL;

-- Written before the request is: a claim without an outcome may be on the wire.
CREATE TABLE attempts (
  tenant_id   uuid NOT NULL,
  step_id     uuid NOT NULL,
  attempt     integer NOT NULL,
  channel     text NOT NULL,
  account_id  uuid NOT NULL,
  plan_epoch  integer NOT NULL,
  claimed_at  timestamptz NOT NULL,
  outcome     text,
  code        text,
  source      text,
  request_id  text,
  request_seq integer,
  finished_at timestamptz,
  PRIMARY KEY (tenant_id, step_id, attempt),
  FOREIGN KEY (tenant_id, step_id) REFERENCES steps (tenant_id, id),
  FOREIGN KEY (tenant_id, account_id) REFERENCES provider_accounts (tenant_id, id)
) WITH (fillfactor = 80);
-- Alimtalk's message-results name a message by its request alone.
CREATE INDEX attempts_request ON attempts (tenant_id, request_id) WHERE request_id IS NOT NULL;

-- One row per step that was attempted; id is the step's.
CREATE TABLE message_logs (
  tenant_id     uuid NOT NULL,
  id            uuid NOT NULL,
  patient_id    uuid NOT NULL,
  channel       text NOT NULL,
  status        text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed', 'delivered')),
  content       bytea,                      -- the text as sent, sealed under the patient's key
  metadata      jsonb NOT NULL DEFAULT '{}',-- workflow_id, execution_id, campaign_id, step_id
  error_message text,
  sent_at       timestamptz,
  delivered_at  timestamptz,
  created_at    timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, id) REFERENCES steps (tenant_id, id),
  FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id)
) WITH (fillfactor = 75);
CREATE INDEX message_logs_list ON message_logs (tenant_id, created_at DESC, id DESC);

CREATE TABLE gateway_reports (
  tenant_id   uuid NOT NULL,
  account_id  uuid NOT NULL,
  hook_id     text NOT NULL,
  step_id     uuid,
  code        text,
  received_at timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, account_id, hook_id),
  FOREIGN KEY (tenant_id, account_id) REFERENCES provider_accounts (tenant_id, id)
);

-- What contradicts what we knew: kept for a human, never acted on.
CREATE TABLE anomalies (
  tenant_id  uuid NOT NULL REFERENCES tenants (id),
  id         uuid NOT NULL,
  step_id    uuid,
  kind       text NOT NULL,
  detail     jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, step_id) REFERENCES steps (tenant_id, id)
);
CREATE INDEX anomalies_step ON anomalies (tenant_id, step_id);

-- Where each stream stood: a lower sequence or another birth means that the
-- broker lost data and what is in flight must be published again.
CREATE TABLE stream_watermarks (
  stream     text PRIMARY KEY,
  born_at    timestamptz NOT NULL,
  last_seq   bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT app_now()
);

-- Row-level security: enabled and forced on every tenant table.
-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['api_keys', 'provider_accounts', 'patients', 'consents', 'suppressions', 'appointments',
      'templates', 'workflows', 'workflow_versions', 'webhooks', 'campaigns', 'triggers', 'webhook_executions',
      'workflow_executions', 'steps', 'attempts', 'message_logs', 'gateway_reports', 'anomalies'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()))', t);
    EXECUTE format('CREATE POLICY worker ON %I TO app_worker USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
-- +goose StatementEnd
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenants TO app_api USING (id = (SELECT app_tenant())) WITH CHECK (id = (SELECT app_tenant()));
CREATE POLICY worker ON tenants TO app_worker USING (true) WITH CHECK (true);

-- Before a tenant is known: ids in, ids out. FORCE holds for the owner too, so
-- it needs a policy to read these columns, and has none elsewhere.
CREATE POLICY lookup ON webhooks FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY lookup ON api_keys FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY lookup ON tenants FOR SELECT TO CURRENT_USER USING (true);

CREATE FUNCTION lookup_webhook(webhook uuid, OUT tenant_id uuid, OUT id uuid) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
AS 'SELECT w.tenant_id, w.id FROM webhooks w WHERE w.id = webhook';

CREATE FUNCTION lookup_api_key(hash bytea, OUT tenant_id uuid, OUT id uuid) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
AS 'SELECT k.tenant_id, k.id FROM api_keys k WHERE k.key_hash = hash';

CREATE FUNCTION lookup_tenant(wanted text, OUT id uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
AS 'SELECT t.id FROM tenants t WHERE t.slug = wanted';

REVOKE ALL ON FUNCTION lookup_webhook(uuid), lookup_api_key(bytea), lookup_tenant(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lookup_webhook(uuid), lookup_api_key(bytea), lookup_tenant(text) TO app_api;

-- What each role may do. Nothing is ever deleted by either.
GRANT SELECT ON goose_db_version TO app_api, app_worker; -- a binary refuses a schema that is not its own
GRANT SELECT ON platform, stream_watermarks TO app_api, app_worker;
GRANT UPDATE ON platform TO app_worker;
GRANT INSERT, UPDATE ON stream_watermarks TO app_worker;

GRANT SELECT, INSERT, UPDATE ON tenants, api_keys, provider_accounts, patients, consents, suppressions, appointments,
  templates, workflows, webhooks, campaigns, webhook_executions TO app_api;
GRANT SELECT, INSERT ON workflow_versions, triggers TO app_api;
GRANT SELECT ON workflow_executions, steps, attempts, message_logs, gateway_reports, anomalies TO app_api;

GRANT SELECT (id, slug, name, phone, time_zone, send_at, quiet_from, quiet_until, data_key, paused_at, paused_reason) ON tenants TO app_worker;
GRANT UPDATE (paused_at, paused_reason) ON tenants TO app_worker;
GRANT SELECT ON provider_accounts, consents, suppressions, appointments, workflows, workflow_versions, campaigns, gateway_reports TO app_worker;
GRANT UPDATE (results_until, polled_at) ON provider_accounts TO app_worker;
GRANT SELECT (tenant_id, id, workflow_id, patient_pointer, type_pointer, create_patients, routes) ON webhooks TO app_worker;
GRANT SELECT, INSERT, UPDATE ON patients, triggers, workflow_executions, steps, attempts, message_logs TO app_worker;
GRANT INSERT ON gateway_reports, anomalies TO app_worker;
GRANT SELECT ON anomalies TO app_worker;
