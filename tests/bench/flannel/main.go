// Command flannel stands in for flannel's CNI meta plugin, whose module is not on the Go module proxy: it reads the
// subnet file that the daemon writes, builds a bridge + host-local configuration, keeps it, and runs the plugin named
// there, for ADD, DEL, CHECK. Written from the documented behaviour; standard library only. It does less than the
// original, which links Kubernetes libraries: a bench that compares with it flatters the original.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func fail(code int, msg string) {
	json.NewEncoder(os.Stdout).Encode(map[string]any{"cniVersion": "0.3.1", "code": code, "msg": msg})
	os.Exit(1)
}

func run(plugin string, conf []byte) {
	for _, dir := range filepath.SplitList(os.Getenv("CNI_PATH")) {
		p := filepath.Join(dir, plugin)
		if _, err := os.Stat(p); err != nil {
			continue
		}
		c := exec.Command(p)
		c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(conf), os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			os.Exit(1)
		}
		return
	}
	fail(103, "no plugin "+plugin+" in CNI_PATH")
}

// keep writes the file and brings it to the disk, as flannel does.
func keep(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Sync()
}

func main() {
	in, _ := io.ReadAll(os.Stdin)
	var n map[string]any
	cmd := os.Getenv("CNI_COMMAND")
	if cmd == "VERSION" {
		fmt.Println(`{"cniVersion":"1.0.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0"]}`)
		return
	}
	if err := json.Unmarshal(in, &n); err != nil {
		fail(6, err.Error())
	}
	str := func(k, d string) string {
		if s, ok := n[k].(string); ok && s != "" {
			return s
		}
		return d
	}
	dataDir := str("dataDir", "/var/lib/cni/flannel")
	saved := filepath.Join(dataDir, os.Getenv("CNI_CONTAINERID"))
	if cmd == "DEL" {
		conf, err := os.ReadFile(saved)
		if err != nil {
			return // never added, or already deleted
		}
		var d map[string]any
		json.Unmarshal(conf, &d)
		run(d["type"].(string), conf)
		os.Remove(saved)
		return
	}
	env := map[string]string{}
	f, err := os.ReadFile(str("subnetFile", "/run/flannel/subnet.env"))
	if err != nil {
		fail(11, "loadFlannelSubnetEnv failed: "+err.Error())
	}
	for _, l := range strings.Split(string(f), "\n") {
		if k, v, ok := strings.Cut(l, "="); ok {
			env[k] = v
		}
	}
	d, _ := n["delegate"].(map[string]any)
	if d == nil {
		d = map[string]any{}
	}
	def := func(k string, v any) {
		if _, ok := d[k]; !ok {
			d[k] = v
		}
	}
	d["name"] = n["name"]
	d["cniVersion"] = n["cniVersion"]
	def("type", "bridge")
	def("ipMasq", env["FLANNEL_IPMASQ"] != "true")
	def("isGateway", true)
	var mtu int
	if fmt.Sscan(env["FLANNEL_MTU"], &mtu); mtu > 0 {
		def("mtu", mtu)
	}
	ranges, routes := [][]map[string]string{}, []map[string]string{}
	for _, v := range []string{"FLANNEL_", "FLANNEL_IPV6_"} {
		if env[v+"SUBNET"] == "" {
			continue
		}
		subnet, err := netip.ParsePrefix(env[v+"SUBNET"]) // the gateway's address: host bits are set
		if err != nil {
			fail(11, v+"SUBNET: "+err.Error())
		}
		ranges = append(ranges, []map[string]string{{"subnet": subnet.Masked().String()}})
		routes = append(routes, map[string]string{"dst": env[v+"NETWORK"]})
	}
	ipam, _ := n["ipam"].(map[string]any)
	if ipam == nil {
		ipam = map[string]any{}
	}
	if _, ok := ipam["type"]; !ok {
		ipam["type"] = "host-local"
	}
	ipam["ranges"], ipam["routes"] = ranges, routes
	d["ipam"] = ipam
	conf, _ := json.Marshal(d)
	if cmd == "ADD" {
		os.MkdirAll(dataDir, 0o700)
		if err := keep(saved, conf); err != nil {
			fail(5, err.Error())
		}
	}
	run(d["type"].(string), conf)
}
