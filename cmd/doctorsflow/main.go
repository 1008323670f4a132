// Command doctorsflow is Doctor's Flow (닥터스플로우): the whole pipeline, or any
// of its roles, and the tools around it. It wires; it holds no logic of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// cli is every command and flag; each flag is also an environment variable.
type cli struct {
	Serve        serveCommand        `cmd:"" help:"Run everything, or some roles, until SIGTERM."`
	Check        checkCommand        `cmd:"" help:"Say what a start with these settings would refuse, and start nothing."`
	Demo         demoCommand         `cmd:"" help:"See it work: a demo clinic, ten patients, real webhooks, a live timeline."`
	Apply        applyCommand        `cmd:"" help:"Make a clinic be what a file says (templates, workflows, webhooks, patients)."`
	Workflow     workflowCommand     `cmd:"" help:"List workflows and what is under way of them; migrate or stop it."`
	Simulate     simulateCommand     `cmd:"" help:"Let time pass for a workflow: who would be sent what, when and why; or how two versions differ. Sends nothing."`
	Why          whyCommand          `cmd:"" help:"Say why a patient did or did not get each message."`
	Replay       replayCommand       `cmd:"" help:"Have what came planned again: a webhook's call, an appointment's event, or all that a source said."`
	Conserve     conserveCommand     `cmd:"" help:"Check that nothing was lost or doubled; fails if something was."`
	Tenant       tenantCommand       `cmd:"" help:"List, pause and resume clinics; make API keys."`
	Audit        auditCommand        `cmd:"" help:"Export a clinic's audit log, for the monthly review."`
	VerifyLog    verifyCommand       `cmd:"" name:"verify-audit" help:"Check that no row of the audit log, and no send, was touched; names the first that was."`
	Patient      patientCommand      `cmd:"" help:"Find a patient by number; opt one out, or in again; erase one for good."`
	Appointments appointmentsCommand `cmd:"" help:"Send exports of practice software to the API: a file, or a folder's."`
	Leaf         leafCommand         `cmd:"" help:"On a clinic's computer: keep what its system says while the line is down, and carry it over NATS when it is up."`
	Holidays     holidaysCommand     `cmd:"" help:"Show and tell public holidays, which business days leave out."`
	Keys         keysCommand         `cmd:"" help:"Rotate the master key, or clinics' keys, while everything runs."`
	Parked       parkedCommand       `cmd:"" help:"List, retry and drop the messages that wait for a human."`
	Bench        benchCommand        `cmd:"" help:"Load the running path over HTTP and measure it, beside the ceilings of this machine."`
	Simulator    simulatorCommand    `cmd:"" help:"Run the gateway simulator alone: NHN Alimtalk and SMS, with every trouble on call."`
	Migrate      migrateCommand      `cmd:"" help:"Bring the schema of an external Postgres up to date."`
	Version      versionCommand      `cmd:"" help:"Print the version."`
}

// failed is an error that a command has already explained on its output.
type failed struct{ code int }

func (failed) Error() string { return "failed" }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// output is where a command prints: what was asked for on one, what happens
// meanwhile on the other.
type output struct{ out, err io.Writer }

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	var c cli
	parser, err := kong.New(&c,
		kong.Name("doctorsflow"),
		kong.Description("Doctor's Flow 닥터스플로우: the right message at the right time, never twice, never to someone who said no."),
		kong.Writers(out, errs),
		kong.UsageOnError(),
		kong.Exit(func(code int) { panic(failed{code}) }),
		kong.BindTo(store.ActAs(ctx, store.Hand{Actor: "cli:" + login()}), (*context.Context)(nil)),
		kong.Bind(output{out, errs}),
		kong.Vars{"data": defaultDataDir()},
	)
	if err != nil {
		fmt.Fprintln(errs, "doctorsflow:", err)
		return 2
	}
	return dispatch(parser, args, errs)
}

func dispatch(parser *kong.Kong, args []string, errs io.Writer) (code int) {
	defer func() {
		// kong leaves --help by Exit, which must not end the process of a test.
		if r := recover(); r != nil {
			f, ok := r.(failed)
			if !ok {
				panic(r)
			}
			code = f.code
		}
	}()
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(errs, "doctorsflow: %v\nRun `doctorsflow --help` for the commands and flags.\n", err)
		return 2
	}
	if err := k.Run(); err != nil {
		if f, ok := errors.AsType[failed](err); ok {
			return f.code
		}
		fmt.Fprintln(errs, "doctorsflow:", err)
		return 1
	}
	return 0
}

type versionCommand struct{}

func (versionCommand) Run(o output) error {
	_, err := fmt.Fprintln(o.out, "doctorsflow", version())
	return err
}

// release is set by -ldflags "-X main.release=…" where the build knows it.
var release string

// version is the release's, the module's, or the commit's of a build from a
// checkout.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && v == "(devel)" && len(s.Value) >= 12 {
			v = s.Value[:12]
		}
	}
	return v
}
