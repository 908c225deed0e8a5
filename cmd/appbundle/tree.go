package main

import (
	"github.com/spf13/cobra"

	"appbundle/resolve"
	"appbundle/schema"
)

func newTreeCmd(out *printer) *cobra.Command {
	format := textFormat()
	cmd := &cobra.Command{
		Use:   "tree [DIR]",
		Short: "what each package of the lock needs",
		Long: `Tree shows the packages that dependencies.txt asks for, with what each of them
needs below it. What is below a package is shown once; "(*)" stands for it where
the package occurs again.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			lock, err := lockOf(dirArg(args))
			if err != nil {
				return err
			}
			g := resolve.NewGraph(lock)
			if format.value == "json" {
				return jsonTree(out, g, lock)
			}
			seen := map[*schema.LockedPackage]bool{}
			for _, root := range g.Roots() {
				out.print("%s", from(root))
				printTree(out, g, root, "", seen)
			}
			return nil
		},
	}
	cmd.Flags().Var(format, "format", "report as `text` or json")
	return cmd
}

// printTree prints p and what is below it; indent stands before each line below.
func printTree(out *printer, g *resolve.Graph, p *schema.LockedPackage, indent string, seen map[*schema.LockedPackage]bool) {
	needs := g.Needs(p)
	if seen[p] && len(needs) > 0 {
		out.print("%s (*)\n", versioned(p))
		return
	}
	seen[p] = true
	out.print("%s\n", versioned(p))
	for i, q := range needs {
		branch, below := "├── ", "│   "
		if i == len(needs)-1 {
			branch, below = "└── ", "    "
		}
		out.print("%s%s", indent, branch)
		printTree(out, g, q, indent+below, seen)
	}
}

func jsonTree(out *printer, g *resolve.Graph, lock *schema.PyLock) error {
	type link struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	type node struct {
		link
		From  []string `json:"from"`
		Needs []link   `json:"needs"`
	}
	nodes := []node{}
	for i := range lock.Packages {
		p := &lock.Packages[i]
		n := node{link: link{p.Name, p.Version}, From: append([]string{}, p.Tool.From...), Needs: []link{}}
		for _, q := range g.Needs(p) {
			n.Needs = append(n.Needs, link{q.Name, q.Version})
		}
		nodes = append(nodes, n)
	}
	return out.json(struct {
		Format   int    `json:"format"`
		Packages []node `json:"packages"`
	}{1, nodes})
}
