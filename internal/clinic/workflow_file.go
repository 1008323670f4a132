package clinic

// WorkflowFile is one workflow with the templates that it takes, as a file that
// is kept in git. What it says of them is what a clinic's file says.
type WorkflowFile struct {
	Workflow  Workflow   `yaml:"workflow" json:"workflow"`
	Templates []Template `yaml:"templates" json:"templates,omitempty"`
}
