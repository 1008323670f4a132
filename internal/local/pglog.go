package local

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// logLimit is the size, in bytes, at which the next start begins a new log.
const logLimit = 10 << 20

// openLog opens the server's log to append to it. One older log is kept.
func openLog(path string) (*os.File, error) {
	if fi, err := os.Stat(path); err == nil && fi.Size() > logLimit {
		if err := os.Rename(path, path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// lastWords is the line of this run's log that says why the server ended.
func (p *Postgres) lastWords() string {
	f, err := os.Open(p.place.log())
	if err != nil {
		return "it left no log"
	}
	defer f.Close()
	out, err := io.ReadAll(io.NewSectionReader(f, p.logStart, 1<<20))
	if err != nil || len(out) == 0 {
		return p.cmd.ProcessState.String()
	}
	return complaint(out)
}
