package intake

import (
	"context"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

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

// rowsAtOnce is how many appointments of a table are kept at a time.
const rowsAtOnce = 4

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
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(rowsAtOnce)
	for _, list := range byAppointment(rows) {
		group.Go(func() error {
			for _, i := range list {
				r, err := d.receiveRow(ctx, id, by, rows[i])
				if err != nil {
					return err
				}
				out.Rows[i] = RowReceipt{rows[i].Line, r}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return out, nil, err
	}
	for _, r := range out.Rows {
		switch r.Status {
		case Accepted:
			out.Accepted++
		case Duplicate:
			out.Duplicate++
		default:
			out.Rejected++
		}
	}
	return out, nil, nil
}

// byAppointment groups the indexes of rows that must keep their order.
func byAppointment(rows []appointment.Row) (groups [][]int) {
	at := map[string]int{}
	for i, r := range rows {
		g, ok := at[r.Appointment]
		if !ok {
			g = len(groups)
			at[r.Appointment] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

func (d *Desk) receiveRow(ctx context.Context, id tenant.ID, by store.Hand, row appointment.Row) (Receipt, error) {
	if len(row.Problems) > 0 {
		return reject(row.ID, faults(row.Problems)...), nil
	}
	r, err := d.Keep(ctx, id, by, row.Event)
	if len(r.Problems) == 1 && r.Problems[0] == (Fault{"/id", conflict}) {
		// The same word of the same moment, about a patient who is written in
		// another way.
		r.Status, r.Problems = Duplicate, nil
	}
	for i, f := range r.Problems {
		if f.Pointer == "/patient/phone" {
			r.Problems[i].Pointer = "/phone"
		}
	}
	return r, err
}
