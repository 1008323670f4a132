package intake

import (
	"context"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// RowReceipt is what became of one row of a table.
type RowReceipt struct {
	// Line is where the row begins in the file; the heading is on line 1.
	Line int `json:"line"`
	Receipt
}

// TableReceipt is what became of a table.
type TableReceipt struct {
	Encoding       string       `json:"encoding" enum:"utf-8,cp949"`
	IgnoredColumns []string     `json:"ignored_columns" nullable:"false" doc:"Headings that mean nothing here."`
	Accepted       int          `json:"accepted"`
	Duplicate      int          `json:"duplicate" doc:"Rows that say nothing new."`
	Rejected       int          `json:"rejected"`
	Rows           []RowReceipt `json:"rows" nullable:"false" doc:"In the order of the file."`
}

// ReceiveTable keeps the rows of a table, each for itself; those of one
// appointment in their order. What is wrong with the whole of it comes back as
// faults. After an error the rows that were kept are duplicates when the table
// comes again.
func (d *Desk) ReceiveTable(ctx context.Context, id tenant.ID, by store.Hand, raw []byte, opt appointment.TableOptions) (out TableReceipt, wrong []Fault, err error) {
	opt.Upload = uuid.Must(uuid.NewV7()).String()
	table, problems := appointment.ReadTable(raw, opt)
	if len(problems) > 0 {
		return out, faults(problems), nil
	}
	rows := table.Rows(opt)
	out = TableReceipt{Encoding: table.Encoding, IgnoredColumns: append([]string{}, table.Ignored...), Rows: make([]RowReceipt, len(rows))}
	words := make([]word, len(rows))
	for i, r := range rows {
		words[i] = word{r.Event, r.Problems}
	}
	list, count, err := d.keepAll(ctx, id, by, words)
	if err != nil {
		return out, nil, err
	}
	out.Accepted, out.Duplicate, out.Rejected = count.Accepted, count.Duplicate, count.Rejected
	for i, r := range list {
		for j, f := range r.Problems {
			if f.Pointer == "/patient/phone" {
				r.Problems[j].Pointer = "/phone"
			}
		}
		out.Rows[i] = RowReceipt{rows[i].Line, r}
	}
	return out, nil, nil
}
