package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// masterFile is where the master key is, if it is in a file.
func (f *dataFlags) masterFile() string {
	return orElse(f.MasterKeyFile, filepath.Join(f.Data, "master.key"))
}

func (f *dataFlags) previousFile() string {
	return orElse(f.MasterKeyFilePrevious, f.masterFile()+".previous")
}

// masters returns the key that wraps every tenant's key, and after it, while
// it is being rotated, the one before it. A serving process asks again when a
// tenant's key does not open.
func (f *dataFlags) masters() (keys []seal.Key, err error) {
	var k seal.Key
	switch {
	case f.MasterKey != "":
		k, err = seal.ParseMaster(f.MasterKey)
	case f.MasterKeyFile != "":
		k, err = seal.LoadMaster(f.MasterKeyFile)
	default:
		k, err = seal.LoadOrCreateMaster(f.masterFile())
	}
	if err != nil {
		return nil, err
	}
	keys = []seal.Key{k}
	if f.MasterKey != "" && f.MasterKeyFilePrevious == "" {
		return keys, nil
	}
	before, err := seal.LoadMaster(f.previousFile())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return keys, nil
	case err != nil:
		return nil, err
	}
	return append(keys, before), nil
}

type keysCommand struct {
	RotateMaster keysMasterCommand `cmd:"" help:"Wrap every clinic's key by a new master key; the one before opens nothing afterwards."`
	RotateTenant keysTenantCommand `cmd:"" help:"Give a clinic another key: everything of it is wrapped, sealed and indexed anew."`
}

type keysMasterCommand struct {
	dataFlags
	NewFile string `help:"File with the new master key, mode 0600; it is made where there is none. Not with MASTER_KEY_FILE, which has the new key already." type:"path"`
}

// Run rotates the master key, or finishes a rotation that was broken off.
func (c *keysMasterCommand) Run(ctx context.Context, o output) error {
	switch own := c.MasterKeyFile == ""; {
	case c.MasterKey != "":
		return errors.New("a key in MASTER_KEY cannot change while processes run: put it into a file, set MASTER_KEY_FILE and start them again; then rotate")
	case own && c.NewFile == "":
		return errors.New("name the file of the new key with --new-file; it is made where there is none")
	case !own && c.NewFile != "":
		return fmt.Errorf("MASTER_KEY_FILE is yours to replace, on every machine: put the key of now into %s and the new one into %s, then run this without --new-file", c.previousFile(), c.MasterKeyFile)
	case own:
		if _, err := seal.LoadMaster(c.masterFile()); err != nil {
			return err
		}
		if _, err := os.Stat(c.previousFile()); err == nil {
			fmt.Fprintln(o.err, "An earlier rotation was broken off: finishing it first.")
			if err := c.wrapAll(ctx, o); err != nil {
				return err
			}
			if err := os.Remove(c.previousFile()); err != nil {
				return err
			}
		}
		changed, err := c.replace()
		if err != nil {
			return err
		}
		if !changed {
			fmt.Fprintln(o.out, "the master key is that of", c.NewFile)
			return nil
		}
	}
	if err := c.wrapAll(ctx, o); err != nil {
		return err
	}
	if c.MasterKeyFile != "" {
		fmt.Fprintf(o.out, "Remove %s everywhere, and keep the key in it only as long as the backups that need it.\n", c.previousFile())
		return nil
	}
	if err := os.Remove(c.previousFile()); err != nil {
		return err
	}
	fmt.Fprintf(o.out, "%s has the new key. Put %s away where you keep it, and keep the old one only as long as the backups that need it.\n", c.masterFile(), c.NewFile)
	return nil
}

// replace puts the new key in the data folder, the key before it beside it
// first: at every moment the two files open every clinic's key.
func (c *keysMasterCommand) replace() (changed bool, err error) {
	now, err := seal.LoadMaster(c.masterFile())
	if err != nil {
		return false, err
	}
	next, err := seal.LoadOrCreateMaster(c.NewFile)
	if err != nil || next == now {
		return false, err
	}
	if err := seal.ReplaceMaster(c.previousFile(), now); err != nil {
		return false, err
	}
	if err := sameOwner(c.previousFile(), c.masterFile()); err != nil {
		return false, err
	}
	if err := seal.ReplaceMaster(c.masterFile(), next); err != nil {
		return false, err
	}
	return true, sameOwner(c.masterFile(), c.previousFile())
}

// wrapAll goes over the clinics until none is under another key.
func (c *keysMasterCommand) wrapAll(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		for total := 0; ; {
			n, err := db.RewrapTenantKeys(ctx)
			if total += n; err != nil {
				return fmt.Errorf("%w; run this again to go on", err)
			}
			if n == 0 {
				fmt.Fprintf(o.out, "%d clinics' keys are wrapped by the new master key\n", total)
				return nil
			}
		}
	})
}

type keysTenantCommand struct {
	dataFlags
	Slug string `arg:"" optional:"" help:"The clinic's slug."`
	All  bool   `help:"Every clinic."`
}

// Run rotates the key of one clinic or of all.
func (c *keysTenantCommand) Run(ctx context.Context, o output) error {
	if c.All == (c.Slug != "") {
		return errors.New("name one clinic by its slug, or give --all")
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Slug)
		if err != nil {
			return err
		}
		for _, id := range ids {
			r, err := db.RotateTenantKey(ctx, id)
			if errors.Is(err, store.ErrErased) && c.All {
				continue
			}
			if err != nil {
				return fmt.Errorf("clinic %s: %w; run this again to go on", id, err)
			}
			fmt.Fprintf(o.out, "clinic %s: a new key; %d patients, %d triggers, %d refused calls and %d of its own secrets went over\n", id, r.Patients, r.Triggers, r.Calls, r.Secrets)
			if r.Resumed {
				fmt.Fprintln(o.err, "An earlier rotation had been broken off; this one finished it.")
			}
		}
		return nil
	})
}
