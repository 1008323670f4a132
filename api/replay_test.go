package api

import (
	"context"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func (f *fakeLedger) Replay(context.Context, tenant.ID, store.Replay) (store.Replayed, error) {
	return store.Replayed{}, store.ErrNotFound
}

func (f *fakeLedger) ReplayOutcome(context.Context, tenant.ID, store.Replayed) (store.Replayed, error) {
	return store.Replayed{}, store.ErrNotFound
}

func (f *fakeLedger) CountSource(context.Context, tenant.ID, store.SourceReplay) (seen, gone int, err error) {
	return 0, 0, nil
}

func (f *fakeLedger) ReplaySource(context.Context, tenant.ID, store.SourceReplay) (store.ReplayJob, error) {
	return store.ReplayJob{}, nil
}

func (f *fakeLedger) CancelReplay(context.Context, tenant.ID, uuid.UUID, store.Hand) (store.ReplayJob, error) {
	return store.ReplayJob{}, store.ErrNotFound
}

func (f *fakeLedger) ReplayByID(context.Context, tenant.ID, uuid.UUID) (store.ReplayJob, error) {
	return store.ReplayJob{}, store.ErrNotFound
}

func (f *fakeLedger) Replays(context.Context, tenant.ID, string, int) (store.Page[store.ReplayJob], error) {
	return store.Page[store.ReplayJob]{}, nil
}
