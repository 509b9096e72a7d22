/*
 * Starts plugins as a runtime does, and tells how long they took: the bench itself would cost more
 * than what it measures. Reads jobs from stdin, one a line:
 *
 *   COUNT STEPS, then COUNT * STEPS lines PROGRAM STDIN ENVIRONMENT (files)
 *
 * runs COUNT chains at once, each its STEPS one after the other, and prints a line
 *
 *   TOTAL_US FAILED LARGEST_RSS_KIB
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct step {
  char program[512], input[512], *env[64];
};

static void load(struct step *step, const char *file) {
  char line[4096];
  int n = 0;
  FILE *f = fopen(file, "r");
  if (!f) abort();
  while (n < 63 && fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    step->env[n++] = strdup(line);
  }
  step->env[n] = 0;
  fclose(f);
}

static pid_t start(struct step *step) {
  char *argv[] = {step->program, 0};
  pid_t pid = vfork();
  if (pid != 0) return pid;
  int in = open(step->input, O_RDONLY), out = open("/dev/null", O_WRONLY);
  dup2(in, 0);
  dup2(out, 1);
  dup2(out, 2);
  execve(step->program, argv, step->env);
  _exit(127);
}

int main(void) {
  int count, steps;
  while (scanf("%d %d", &count, &steps) == 2) {
    struct step *all = calloc((size_t)(count * steps), sizeof *all);
    pid_t *running = calloc((size_t)count, sizeof *running);
    int *next = calloc((size_t)count, sizeof *next);
    for (int i = 0; i < count * steps; i++) {
      char env[512];
      if (scanf("%511s %511s %511s", all[i].program, all[i].input, env) != 3) return 1;
      load(&all[i], env);
    }
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    int failed = 0, left = count;
    long largest = 0;
    for (int i = 0; i < count; i++) running[i] = start(&all[i * steps + next[i]++]);
    while (left > 0) {
      int status;
      struct rusage usage;
      pid_t pid = wait4(-1, &status, 0, &usage);
      if (usage.ru_maxrss > largest) largest = usage.ru_maxrss;
      if (status != 0) failed++;
      for (int i = 0; i < count; i++) {
        if (running[i] != pid) continue;
        if (next[i] < steps) running[i] = start(&all[i * steps + next[i]++]);
        else left--, running[i] = 0;
        break;
      }
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%ld %d %ld\n", (ended.tv_sec - began.tv_sec) * 1000000 +
      (ended.tv_nsec - began.tv_nsec) / 1000, failed, largest);
    fflush(stdout);
    free(all), free(running), free(next);
  }
}
