// Command manifests prints Open Cluster Management's own objects, filled in as its operator would for a hub or a
// managed cluster without webhooks. Argument: hub-crds, hub-roles, managed-crds or managed-roles.
package main

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path"
	"strings"
	"text/template"

	"open-cluster-management.io/ocm/manifests"
	"sigs.k8s.io/yaml"
)

type selection struct {
	files    embed.FS
	patterns []string
}

const (
	hub        = "cluster-manager/hub/"
	managed    = "klusterlet/managed/"
	management = "klusterlet/management/"
)

var selections = map[string]selection{
	"hub-crds": {manifests.ClusterManagerManifestFiles, []string{hub + "crds/*.yaml"}},
	"hub-roles": {manifests.ClusterManagerManifestFiles, []string{
		"cluster-manager/cluster-manager-namespace.yaml",
		hub + "registration/*.yaml", hub + "work/*.yaml", hub + "addon-manager/*.yaml", hub + "placement/*.yaml",
	}},
	"managed-crds": {manifests.KlusterletManifestFiles, []string{managed + "*.crd.yaml"}},
	"managed-roles": {manifests.KlusterletManifestFiles, []string{
		managed + "klusterlet*.yaml", management + "*role*.yaml", management + "*serviceaccount*.yaml",
	}},
}

// The names that the operator gives.
var values = map[string]any{
	"ClusterManagerName":                "cluster-manager",
	"ClusterManagerNamespace":           "open-cluster-management-hub",
	"OperatorNamespace":                 "open-cluster-management",
	"KlusterletName":                    "klusterlet",
	"KlusterletNamespace":               "open-cluster-management-agent",
	"AgentNamespace":                    "open-cluster-management-agent",
	"AddOnAgentNamespace":               "open-cluster-management-agent-addon",
	"RegistrationServiceAccount":        "registration-sa",
	"WorkServiceAccount":                "work-sa",
	"PlacementServiceAccount":           "placement-sa",
	"Labels":                            map[string]string{},
	"RegistrationDriver":                map[string]string{"AuthType": "csr"},
	"ManagedClusterIdentityCreatorRole": "",
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: manifests hub-crds|hub-roles|managed-crds|managed-roles")
	}
	chosen, known := selections[os.Args[1]]
	if !known {
		log.Fatalf("there is no selection %q", os.Args[1])
	}
	for _, pattern := range chosen.patterns {
		names, err := fs.Glob(chosen.files, pattern)
		if err != nil || len(names) == 0 {
			log.Fatalf("nothing matches %s: %v", pattern, err)
		}
		for _, name := range names {
			// Webhooks need their Deployments; what begins with "token-" belongs to one addon at a time.
			base := path.Base(name)
			if strings.Contains(base, "webhook") || strings.HasPrefix(base, "token-") {
				continue
			}
			if err := printManifest(chosen.files, name); err != nil {
				log.Fatalf("%s: %v", name, err)
			}
		}
	}
}

// serveStoredAlone is for definitions whose versions a webhook converts. There is none, and a request in a version that is not
// the stored one would lose the fields that the two do not share.
func serveStoredAlone(spec map[string]any) {
	if _, converts := spec["conversion"]; !converts {
		return
	}
	delete(spec, "conversion")
	for _, version := range spec["versions"].([]any) {
		version := version.(map[string]any)
		version["served"] = version["storage"]
	}
}

func printManifest(files embed.FS, name string) error {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	parsed, err := template.New(name).Option("missingkey=zero").Parse(string(text))
	if err != nil {
		return err
	}
	var filled bytes.Buffer
	if err := parsed.Execute(&filled, values); err != nil {
		return err
	}
	var object map[string]any
	if err := yaml.Unmarshal(filled.Bytes(), &object); err != nil || object == nil {
		return err
	}
	if spec, ok := object["spec"].(map[string]any); ok && object["kind"] == "CustomResourceDefinition" {
		serveStoredAlone(spec)
	}
	// A role of a cloud, which nobody has here and whose empty name is refused.
	if metadata, ok := object["metadata"].(map[string]any); ok && object["kind"] == "ServiceAccount" {
		delete(metadata, "annotations")
	}
	printed, err := yaml.Marshal(object)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("---\n%s", printed)
	return err
}
