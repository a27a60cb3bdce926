// Command argocd runs unmodified programs of Argo CD: its application controller, which talks to managed clusters, and
// the repository server, which reads manifests from Git.
package main

import (
	"os"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/spf13/cobra"
)

func main() {
	command := &cobra.Command{Use: "argocd"}
	command.AddCommand(controller.NewCommand(), reposerver.NewCommand())
	if err := command.Execute(); err != nil {
		os.Exit(1)
	}
}
