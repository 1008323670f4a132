-- +goose Up

-- An appointment is what its events say, taken in the source's own order.
ALTER TABLE appointments
  ALTER COLUMN appointment_date DROP NOT NULL,          -- a cancellation may be all that was heard
  ADD COLUMN source    text NOT NULL DEFAULT '',        -- the system that numbers it
  ADD COLUMN starts_at timestamptz,                     -- date and time in the clinic's zone
  ADD COLUMN moved_at  timestamptz NOT NULL DEFAULT app_now(), -- when date or time changed last
  ADD COLUMN version   integer NOT NULL DEFAULT 0,      -- how often it changed
  DROP CONSTRAINT appointments_status_check,
  ADD CONSTRAINT appointments_status_check CHECK (status IN ('scheduled', 'checked_in', 'completed', 'cancelled', 'no_show'));
DROP INDEX appointments_external_id;
CREATE UNIQUE INDEX appointments_external_id ON appointments (tenant_id, source, external_id) WHERE external_id IS NOT NULL;

-- Everything that was heard, late or not. Nobody changes a row.
CREATE TABLE appointment_events (
  tenant_id        uuid NOT NULL,
  id               uuid NOT NULL,
  event_id         text COLLATE "C" NOT NULL, -- the source's own id of the event
  appointment_id   uuid NOT NULL,
  trigger_id       uuid NOT NULL,
  kind             text NOT NULL CHECK (kind IN ('booked', 'rescheduled', 'edited', 'checked_in', 'completed', 'no_show', 'cancelled')),
  sequence         bigint NOT NULL,           -- the source's own; 0: it gave none
  at               timestamptz NOT NULL,      -- when it happened there
  late             boolean NOT NULL,          -- a newer one was known already
  appointment_date date,
  appointment_time time,
  surgery_type     text,
  received_at      timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, appointment_id) REFERENCES appointments (tenant_id, id),
  FOREIGN KEY (tenant_id, trigger_id) REFERENCES triggers (tenant_id, id)
);
CREATE UNIQUE INDEX appointment_events_event ON appointment_events (tenant_id, event_id);
CREATE UNIQUE INDEX appointment_events_trigger ON appointment_events (tenant_id, trigger_id);
CREATE INDEX appointment_events_appointment ON appointment_events (tenant_id, appointment_id);

ALTER TABLE appointment_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON appointment_events TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()));
CREATE POLICY worker ON appointment_events TO app_worker USING (true) WITH CHECK (true);
GRANT SELECT ON appointment_events TO app_api;
GRANT SELECT, INSERT ON appointment_events TO app_worker;
GRANT INSERT, UPDATE ON appointments TO app_worker;

-- The open runs of an appointment, which change with it.
CREATE INDEX workflow_executions_appointment ON workflow_executions (tenant_id, appointment_id) WHERE appointment_id IS NOT NULL;

-- A workflow names the event that starts it; a drawing under appointment names
-- it in its trigger nodes.
ALTER TABLE workflows
  DROP CONSTRAINT workflows_trigger_type_check,
  ADD CONSTRAINT workflows_trigger_type_check CHECK (trigger_type IN ('post_surgery', 'webhook', 'schedule', 'appointment',
    'appointment.booked', 'appointment.rescheduled', 'appointment.edited', 'appointment.checked_in', 'appointment.completed',
    'appointment.no_show', 'appointment.cancelled'));
