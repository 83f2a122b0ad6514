// Program kubernetes is a control plane for tests: one program, as small a part of Kubernetes as they need.
//
// The first argument names the component (etcd, kube-apiserver); the others are that component's own. "account-key"
// prints a new key by which an API server can sign tokens.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if len(os.Args) < 2 {
		fail("no component is named")
	}
	// The components read their arguments from here.
	os.Args = os.Args[1:]
	switch component := os.Args[0]; component {
	case "account-key":
		printKey()
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	default:
		fail(fmt.Sprintf("unknown component %q", component))
	}
}

func printKey() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fail(err.Error())
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		fail(err.Error())
	}
	if err := pem.Encode(os.Stdout, &pem.Block{Type: "EC PRIVATE KEY", Bytes: der}); err != nil {
		fail(err.Error())
	}
}

func fail(problem string) {
	fmt.Fprintf(os.Stderr, "%s: want account-key, etcd or kube-apiserver, and its arguments\n", problem)
	os.Exit(2)
}
