-- +goose Up

-- A wish for an appointment, which nobody has confirmed, is one kind more; and
-- a source may say where an appointment stands instead of what happened.
ALTER TABLE appointments
  DROP CONSTRAINT appointments_status_check,
  ADD CONSTRAINT appointments_status_check CHECK (status IN ('requested', 'scheduled', 'checked_in', 'completed', 'cancelled', 'no_show'));

ALTER TABLE appointment_events
  DROP CONSTRAINT appointment_events_kind_check,
  ADD CONSTRAINT appointment_events_kind_check CHECK (kind IN ('requested', 'booked', 'rescheduled', 'edited', 'checked_in', 'completed', 'no_show', 'cancelled')),
  ADD COLUMN stands text CHECK (stands IN ('requested', 'scheduled', 'checked_in', 'completed', 'cancelled', 'no_show'));

ALTER TABLE workflows
  DROP CONSTRAINT workflows_trigger_type_check,
  ADD CONSTRAINT workflows_trigger_type_check CHECK (trigger_type IN ('post_surgery', 'webhook', 'schedule', 'appointment',
    'appointment.requested', 'appointment.booked', 'appointment.rescheduled', 'appointment.edited', 'appointment.checked_in',
    'appointment.completed', 'appointment.no_show', 'appointment.cancelled'));
