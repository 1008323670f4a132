package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/planner"
)

type workflowExportCommand struct {
	dataFlags
	Tenant   string `help:"The clinic's slug." required:"" short:"t"`
	Workflow string `arg:"" optional:"" help:"The workflow's name; none with --all."`
	All      bool   `help:"Every workflow, each into a file of its name in the folder that --output names."`
	Draft    bool   `help:"The draft, in place of what is published."`
	Version  int32  `help:"This published version, in place of the last one."`
	Format   string `help:"yaml or json." default:"yaml" enum:"yaml,json"`
	Output   string `short:"o" help:"Write to this file, or folder with --all, in place of standard output." type:"path"`
}

// Run writes workflows as files.
func (c *workflowExportCommand) Run(ctx context.Context, o output) error {
	switch {
	case c.All == (c.Workflow != ""):
		return errors.New("name a workflow, or give --all")
	case c.All && (c.Output == "" || c.Version != 0):
		return errors.New("--all needs the folder to write to in --output, and takes no --version")
	case c.Draft && c.Version != 0:
		return errors.New("--draft and --version contradict each other")
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		choice := workflowChoice{dataFlags: c.dataFlags, Tenant: c.Tenant, Workflow: c.Workflow}
		if !c.All {
			id, w, err := choice.find(ctx, db)
			if err != nil {
				return err
			}
			b, err := c.file(ctx, db, id, w)
			if err != nil || c.Output == "" {
				_, failed := o.out.Write(b)
				return errors.Join(err, failed)
			}
			return os.WriteFile(c.Output, b, 0o644) // no patient is in it
		}
		ids, err := chooseTenants(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		return c.every(ctx, o, db, ids[0])
	})
}

func (c *workflowExportCommand) every(ctx context.Context, o output, db *store.DB, id tenant.ID) error {
	list, err := db.Workflows(ctx, id)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Output, 0o755); err != nil {
		return err
	}
	taken := map[string]string{}
	for _, w := range list {
		name := fileName(w.Name) + "." + c.Format
		if other, is := taken[strings.ToLower(name)]; is {
			return fmt.Errorf("%q and %q would be one file, %s; export them one by one with --output", other, w.Name, name)
		}
		taken[strings.ToLower(name)] = w.Name
		b, err := c.file(ctx, db, id, w)
		if err != nil {
			return err
		}
		path := filepath.Join(c.Output, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return err
		}
		fmt.Fprintln(o.out, path)
	}
	return nil
}

func (c *workflowExportCommand) file(ctx context.Context, db *store.DB, id tenant.ID, w store.WorkflowRow) ([]byte, error) {
	f, err := db.WorkflowFile(ctx, id, w.ID, store.FileOf{Draft: c.Draft, Version: c.Version})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, fmt.Errorf("%s has no version %d", w.Name, c.Version)
	case err != nil:
		return nil, err
	case c.Format == "json":
		return f.JSON()
	}
	return f.YAML()
}

// fileName is a workflow's name as every file system takes it.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' {
			return r
		}
		return '-'
	}, name)
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	return orElse(strings.Trim(name, "-"), "workflow")
}

type workflowImportCommand struct {
	dataFlags
	Tenant   string   `help:"The clinic's slug." required:"" short:"t"`
	Files    []string `arg:"" name:"file" help:"Files as export writes them; - reads standard input."`
	Publish  bool     `help:"Publish them too; else each is saved as a draft."`
	InFlight string   `name:"in-flight" help:"With --publish: what becomes of runs under way: keep their version, migrate to the new one, or stop." default:"keep" enum:"keep,migrate,stop"`
	DryRun   bool     `help:"Show the difference and change nothing."`
	Reason   string   `help:"Why, for the audit log: one line, nothing of a patient."`
}

// Run makes the clinic's workflows be what the files say, one after the other.
func (c *workflowImportCommand) Run(ctx context.Context, o output) error {
	files := make([]clinic.WorkflowFile, len(c.Files))
	for i, path := range c.Files { // all are read before one is applied
		var err error
		if files[i], err = readWorkflow(path); err != nil {
			return err
		}
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		for i, f := range files {
			done, err := db.ImportWorkflow(ctx, ids[0], f, store.ImportOptions{
				Publish: c.Publish, InFlight: store.InFlight(c.InFlight), DryRun: c.DryRun, Hand: store.Hand{Actor: "cli:" + login(), Note: c.Reason},
			}, planner.Again)
			if err != nil {
				return importFailed(c.Files[i], err)
			}
			c.tell(o, f.Workflow.Name, c.Files[i], done)
		}
		return nil
	})
}

func (c *workflowImportCommand) tell(o output, name, path string, done store.Imported) {
	printChanges(o.out, store.Applied{Changes: done.Changes})
	printProblems(o.out, path, done.Problems)
	verb := "is"
	if c.DryRun {
		verb = "would be"
	}
	if !c.Publish {
		fmt.Fprintf(o.out, "workflow %s %s a draft; publish it with --publish, or by the API\n", name, verb)
		return
	}
	if done.Fresh {
		fmt.Fprintf(o.out, "workflow %s: version %d %s published\n", name, done.Version, verb)
	} else {
		fmt.Fprintf(o.out, "workflow %s: version %d is published already\n", name, done.Version)
	}
	printUnderway(o, name, c.InFlight, c.DryRun, done.Replanned)
}

func printUnderway(o output, name, policy string, dry bool, r store.Replanned) {
	switch {
	case r.Runs == 0:
		return
	case policy == "keep":
		fmt.Fprintf(o.out, "workflow %s: %d runs under way, with %d messages planned, go on by the version that they began with\n", name, r.Runs, r.Kept)
		return
	}
	printRuns(o, name, dry, r)
}

func importFailed(path string, err error) error {
	var invalid *clinic.InvalidWorkflowError
	switch {
	case errors.As(err, &invalid):
		return fmt.Errorf("%s cannot be published:\n%w", path, invalid)
	case errors.Is(err, store.ErrArchived):
		return fmt.Errorf("%s: the workflow is deleted; publish it to bring it back, or activate it by the API", path)
	case errors.Is(err, store.ErrNote):
		return errNote
	}
	return fmt.Errorf("%s: %w", path, err)
}

type workflowCheckCommand struct {
	dataFlags
	Tenant string   `help:"The clinic's slug: templates that a file does not bring are looked up there. Without it the file must bring them all, and no ledger is needed." short:"t"`
	Files  []string `arg:"" name:"file" help:"Files as export writes them; - reads standard input."`
}

// somewhere stands for the public address where a file is only looked at: the
// one that counts is set where it is published.
const somewhere = "https://flow.example.com"

// Run prints the problems of each file, and fails where one has any.
func (c *workflowCheckCommand) Run(ctx context.Context, o output) error {
	if c.Tenant == "" {
		return c.check(o, func(f clinic.WorkflowFile) ([]workflow.Problem, error) {
			f.Workflow.PublicURL = orElse(c.PublicURL, somewhere)
			_, problems := f.Workflow.Build(f.ByName())
			return problems, nil
		})
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		return c.check(o, func(f clinic.WorkflowFile) ([]workflow.Problem, error) { return db.CheckWorkflow(ctx, ids[0], f) })
	})
}

func (c *workflowCheckCommand) check(o output, problems func(clinic.WorkflowFile) ([]workflow.Problem, error)) error {
	bad := false
	for _, path := range c.Files {
		f, err := readWorkflow(path)
		if err != nil {
			bad = true
			fmt.Fprintln(o.out, err)
			continue
		}
		list, err := problems(f)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			fmt.Fprintf(o.out, "✔ %s: %s\n", path, f.Workflow.Name)
		}
		bad = bad || len(list) > 0
		printProblems(o.out, path, list)
	}
	if bad {
		return failed{1}
	}
	return nil
}

// printProblems prints a line for each, as compilers do.
func printProblems(w io.Writer, path string, list []workflow.Problem) {
	for _, p := range list {
		at := p.Pointer
		if p.Node != "" {
			at = fmt.Sprintf("node %q (%s)", p.Node, p.Pointer)
		}
		fmt.Fprintf(w, "%s: %s: %s (%s)\n", path, at, p.English, p.Korean)
	}
}

func readWorkflow(path string) (clinic.WorkflowFile, error) {
	b, err := readInput(path)
	if err != nil {
		return clinic.WorkflowFile{}, err
	}
	f, err := clinic.ParseWorkflowFile(b)
	if err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

type workflowSchemaCommand struct{}

// Run prints the JSON Schema of a workflow's file.
func (c *workflowSchemaCommand) Run(_ context.Context, o output) error {
	b, err := clinic.Schema()
	if err != nil {
		return err
	}
	_, err = o.out.Write(b)
	return err
}
