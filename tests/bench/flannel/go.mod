module twillbench/flannel

go 1.21
