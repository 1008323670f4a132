package ingest

import (
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/strictjson"
)

func TestEveryFaultOfADocumentIsAProblem(t *testing.T) {
	t.Parallel()
	for _, c := range []strictjson.Code{
		strictjson.Malformed, strictjson.DuplicateKey, strictjson.TooDeep, strictjson.InvalidText,
		strictjson.OutOfRange, strictjson.TooManyValues, strictjson.TooLong,
	} {
		if p := problem.New(problem.Slug(c)); string(p.Slug()) != string(c) || p.Status >= 500 {
			t.Errorf("%s is answered %d %s", c, p.Status, p.Slug())
		}
	}
}
