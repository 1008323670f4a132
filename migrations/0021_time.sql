-- +goose Up

-- A clinic's own rules of time, as its file says them; NULL is none.
ALTER TABLE tenants
  ADD COLUMN send_windows   jsonb,  -- by class: when messages may go
  ADD COLUMN frequency_caps jsonb,  -- by class: how many messages of a patient's day and week
  ADD COLUMN calendar       jsonb;  -- on which days it works
GRANT SELECT (send_windows, frequency_caps, calendar) ON tenants TO app_worker;

-- Public holidays are everybody's: what a release does not know. A name of ''
-- takes one of the release's back.
CREATE TABLE public_holidays (
  country    text NOT NULL CHECK (country ~ '^[A-Z]{2}$'), -- ISO 3166-1
  day        date NOT NULL,
  name       text NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (country, day)
);
GRANT SELECT ON public_holidays TO app_api, app_worker;
GRANT INSERT, UPDATE ON public_holidays TO app_worker;

-- What a patient of a clinic with frequency caps was sent lately: root steps,
-- each once, from its first claim on. Old ones go as new ones come.
CREATE TABLE patient_sendings (
  tenant_id  uuid NOT NULL,
  patient_id uuid NOT NULL,
  recent     jsonb NOT NULL,          -- [{"Root": id, "Class": text, "At": time}]
  updated_at timestamptz NOT NULL DEFAULT app_now(),
  PRIMARY KEY (tenant_id, patient_id),
  FOREIGN KEY (tenant_id, patient_id) REFERENCES patients (tenant_id, id)
);

ALTER TABLE patient_sendings ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON patient_sendings TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()));
CREATE POLICY worker ON patient_sendings TO app_worker USING (true) WITH CHECK (true);
GRANT SELECT ON patient_sendings TO app_api;
GRANT SELECT, INSERT, UPDATE ON patient_sendings TO app_worker;
