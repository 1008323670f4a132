package store

import (
	"encoding/binary"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// registerIDs teaches a connection to write our ids as they are: through
// database/sql's interface, as pgx does with types that it does not know, each
// would be formatted and parsed again.
func registerIDs(m *pgtype.Map) {
	element := &pgtype.Type{Name: "uuid", OID: pgtype.UUIDOID, Codec: idCodec{}}
	m.RegisterType(element)
	m.RegisterType(&pgtype.Type{Name: "_uuid", OID: pgtype.UUIDArrayOID, Codec: idsCodec{&pgtype.ArrayCodec{ElementType: element}}})
}

// idCodec writes one id.
type idCodec struct{ pgtype.UUIDCodec }

// PlanEncode implements [pgtype.Codec].
func (c idCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if format == pgtype.BinaryFormatCode {
		switch value.(type) {
		case uuid.UUID, tenant.ID:
			return encodeID{}
		}
	}
	return c.UUIDCodec.PlanEncode(m, oid, format, value)
}

type encodeID struct{}

// Encode implements [pgtype.EncodePlan].
func (encodeID) Encode(value any, buf []byte) ([]byte, error) {
	switch v := value.(type) {
	case uuid.UUID:
		return append(buf, v[:]...), nil
	case tenant.ID:
		return append(buf, v[:]...), nil
	}
	return nil, errNotID
}

// idsCodec writes a column of ids.
type idsCodec struct{ *pgtype.ArrayCodec }

// PlanEncode implements [pgtype.Codec].
func (c idsCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if format == pgtype.BinaryFormatCode {
		switch value.(type) {
		case []uuid.UUID, []tenant.ID:
			return encodeIDs{}
		}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

type encodeIDs struct{}

// Encode implements [pgtype.EncodePlan] with array_send's format: dimensions,
// whether there are NULLs, element type; then length and lower bound; then each
// element with its length (src/backend/utils/adt/arrayfuncs.c).
func (encodeIDs) Encode(value any, buf []byte) ([]byte, error) {
	switch v := value.(type) {
	case []uuid.UUID:
		return appendIDs(buf, v), nil
	case []tenant.ID:
		return appendIDs(buf, v), nil
	}
	return nil, errNotID
}

func appendIDs[ID ~[16]byte](buf []byte, ids []ID) []byte {
	if ids == nil {
		return nil // NULL
	}
	be := binary.BigEndian
	if len(ids) == 0 {
		return be.AppendUint32(be.AppendUint32(be.AppendUint32(buf, 0), 0), pgtype.UUIDOID)
	}
	buf = be.AppendUint32(be.AppendUint32(be.AppendUint32(buf, 1), 0), pgtype.UUIDOID)
	buf = be.AppendUint32(be.AppendUint32(buf, uint32(len(ids))), 1)
	for i := range ids {
		buf = append(be.AppendUint32(buf, 16), ids[i][:]...)
	}
	return buf
}

var errNotID = errors.New("store: not an id")
