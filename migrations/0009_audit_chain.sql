-- +goose Up

-- The audit log as one chain of rows per tenant: each holds the hash of the one
-- before. The database itself chains what is inserted, so that no way into the
-- table can forget it, and no role that inserts can choose its place.

ALTER TABLE audit_log RENAME COLUMN note TO purpose;
ALTER TABLE audit_log
  ALTER COLUMN subject_id DROP NOT NULL,
  ADD COLUMN from_addr text   NOT NULL DEFAULT '' CHECK (char_length(from_addr) <= 64),
  ADD COLUMN patients  uuid[] NOT NULL DEFAULT '{}' CHECK (cardinality(patients) <= 500),  -- whose data
  ADD COLUMN seq       bigint,
  ADD COLUMN encoding  smallint,            -- which encoding was hashed
  ADD COLUMN prev_hash bytea,
  ADD COLUMN hash      bytea;

-- +goose StatementBegin
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT c.conname FROM pg_constraint c
              JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attname = 'actor'
              WHERE c.conrelid = 'audit_log'::regclass AND c.contype = 'c' AND c.conkey = ARRAY[a.attnum] LOOP
    EXECUTE format('ALTER TABLE audit_log DROP CONSTRAINT %I', name);
  END LOOP;
END $$;
-- +goose StatementEnd
-- An API key's id, a login on the machine, a signed-in person, or the program itself.
ALTER TABLE audit_log ADD CONSTRAINT audit_log_actor_check CHECK (actor ~ '^(key|cli|user|system):.');

-- The last row of each chain. Whoever appends holds it, to the end of the
-- transaction; only the database writes it.
CREATE TABLE audit_heads (
  tenant_id uuid PRIMARY KEY REFERENCES tenants (id),
  seq       bigint NOT NULL,
  hash      bytea NOT NULL,
  at        timestamptz NOT NULL
);

-- Up to which attempt what was sent is in the chain, and the lock of the copy
-- that goes on from there.
CREATE TABLE audit_seals (
  tenant_id  uuid PRIMARY KEY REFERENCES tenants (id),
  claimed_at timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00',
  step_id    uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  attempt    integer NOT NULL DEFAULT 0
);

-- attempts_log has the first attempt of each step; this one has the few others.
CREATE INDEX attempts_again ON attempts (tenant_id, claimed_at, step_id, attempt) WHERE NOT logged;

-- Each field is its length in bytes and its text, so that no two rows encode
-- alike; a NULL has the length -1. internal/store encodes the same in Go.
CREATE FUNCTION audit_field(v text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog
AS $$ SELECT CASE WHEN v IS NULL THEN '\xffffffff'::bytea ELSE int4send(octet_length(v)) || convert_to(v, 'UTF8') END $$;

CREATE FUNCTION audit_hash(r audit_log) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public
AS $$ SELECT sha256(audit_field('doctorsflow/audit') || audit_field(r.encoding::text) || audit_field(r.tenant_id::text) || audit_field(r.seq::text)
  || audit_field(encode(r.prev_hash, 'hex')) || audit_field(r.id::text)
  || audit_field(((extract(epoch FROM r.at) * 1000000)::bigint)::text) || audit_field(r.actor) || audit_field(r.from_addr)
  || audit_field(r.action) || audit_field(r.subject) || audit_field(r.subject_id::text)
  || audit_field(array_to_string(r.patients, ',')) || audit_field(r.purpose) || audit_field(r.detail::text)) $$;

-- at is the clock's, once the row's place is certain: never before the last row's.
-- +goose StatementBegin
CREATE FUNCTION chain_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE h audit_heads;
BEGIN
  SELECT * INTO h FROM audit_heads WHERE tenant_id = NEW.tenant_id FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO audit_heads (tenant_id, seq, hash, at) VALUES (NEW.tenant_id, 0, decode(repeat('00', 32), 'hex'), '-infinity')
    ON CONFLICT DO NOTHING;
    SELECT * INTO h FROM audit_heads WHERE tenant_id = NEW.tenant_id FOR UPDATE;
  END IF;
  NEW.seq := h.seq + 1;
  NEW.encoding := 1;
  NEW.prev_hash := h.hash;
  NEW.at := greatest(clock_timestamp(), h.at, (SELECT clock_high_water FROM platform));
  NEW.hash := audit_hash(NEW);
  UPDATE audit_heads SET seq = NEW.seq, hash = NEW.hash, at = NEW.at WHERE tenant_id = NEW.tenant_id;
  RETURN NEW;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('app.audit_cut', true) = OLD.tenant_id::text THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd

-- What was written before there was a chain, in the order in which it was.
-- +goose StatementBegin
DO $$
DECLARE r audit_log; h audit_heads;
BEGIN
  ALTER TABLE audit_log NO FORCE ROW LEVEL SECURITY;
  FOR r IN SELECT * FROM audit_log ORDER BY tenant_id, at, id LOOP
    SELECT * INTO h FROM audit_heads WHERE tenant_id = r.tenant_id;
    r.seq := coalesce(h.seq, 0) + 1;
    r.encoding := 1;
    r.prev_hash := coalesce(h.hash, decode(repeat('00', 32), 'hex'));
    r.hash := audit_hash(r);
    UPDATE audit_log SET seq = r.seq, encoding = r.encoding, prev_hash = r.prev_hash, hash = r.hash WHERE tenant_id = r.tenant_id AND id = r.id;
    INSERT INTO audit_heads VALUES (r.tenant_id, r.seq, r.hash, r.at)
    ON CONFLICT (tenant_id) DO UPDATE SET seq = EXCLUDED.seq, hash = EXCLUDED.hash, at = EXCLUDED.at;
  END LOOP;
  ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
END $$;
-- +goose StatementEnd

ALTER TABLE audit_log
  ALTER COLUMN seq SET NOT NULL,
  ALTER COLUMN encoding SET NOT NULL,
  ALTER COLUMN prev_hash SET NOT NULL,
  ALTER COLUMN hash SET NOT NULL;
CREATE UNIQUE INDEX audit_log_seq ON audit_log (tenant_id, seq);

CREATE TRIGGER audit_log_chain BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION chain_audit();
CREATE TRIGGER audit_log_keep BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION keep_audit();
CREATE TRIGGER audit_log_keep_all BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION keep_audit();

-- Retention. What is removed is the chain's beginning, and a row at its end says
-- so: after which row it begins now, and that row's hash.
-- +goose StatementBegin
CREATE FUNCTION cut_audit(tenant uuid, before timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE last_row audit_log; removed bigint;
BEGIN
  -- By the server's own clock: the platform's can be set forward.
  IF before > clock_timestamp() - interval '365 days' THEN
    RAISE EXCEPTION 'the audit log is kept for a year at least' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM FROM audit_heads WHERE tenant_id = tenant FOR UPDATE;
  SELECT * INTO last_row FROM audit_log l WHERE l.tenant_id = tenant AND l.at < before
  AND    l.seq < (SELECT min(f.seq) + 10000 FROM audit_log f WHERE f.tenant_id = tenant) ORDER BY l.seq DESC LIMIT 1; -- a piece at a time
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  PERFORM set_config('app.audit_cut', tenant::text, true);
  DELETE FROM audit_log l WHERE l.tenant_id = tenant AND l.seq <= last_row.seq;
  GET DIAGNOSTICS removed = ROW_COUNT;
  PERFORM set_config('app.audit_cut', '', true);
  INSERT INTO audit_log (tenant_id, id, actor, action, subject, detail)
  VALUES (tenant, gen_random_uuid(), 'system:retention', 'audit.checkpoint', 'audit_log', jsonb_build_object(
    'seq', last_row.seq, 'hash', encode(last_row.hash, 'hex'), 'rows', removed, 'before', before, 'last_at', last_row.at));
  RETURN removed;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['audit_heads', 'audit_seals'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()))', t);
    EXECUTE format('CREATE POLICY worker ON %I TO app_worker USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
-- +goose StatementEnd
-- FORCE holds for the owner too, as whom the two functions run.
CREATE POLICY chain ON audit_heads TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY read_for_cut ON audit_log FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY cut ON audit_log FOR DELETE TO CURRENT_USER USING (true);
CREATE POLICY checkpoint ON audit_log FOR INSERT TO CURRENT_USER WITH CHECK (action = 'audit.checkpoint');
-- What the verifier goes by is nobody else's to write.
CREATE POLICY own_words_api ON audit_log AS RESTRICTIVE FOR INSERT TO app_api WITH CHECK (action NOT IN ('send', 'audit.checkpoint'));
CREATE POLICY own_words_worker ON audit_log AS RESTRICTIVE FOR INSERT TO app_worker WITH CHECK (action <> 'audit.checkpoint');

GRANT SELECT ON audit_heads, audit_seals TO app_api, app_worker;
GRANT INSERT, UPDATE ON audit_seals TO app_worker;
REVOKE ALL ON FUNCTION cut_audit(uuid, timestamptz), chain_audit() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cut_audit(uuid, timestamptz) TO app_worker;
