-- +goose Up

-- Rotating a tenant's key wraps the payloads' keys anew and recomputes what
-- was computed under the key: the hash that tells a repeat from a conflict,
-- and the event ids that are made of it.
GRANT UPDATE (payload_key, body_hash, event_id) ON triggers TO app_api;

-- An opt-out follows its number to the index that a new patient's row has.
GRANT INSERT ON suppressions TO app_worker;
