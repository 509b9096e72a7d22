/* flood sink PORT: holds a UDP socket and reads nothing.
   flood IP PORT SECONDS: sends datagrams of 64 bytes to it; prints nanoseconds of each. IPv4. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv) {
  struct sockaddr_in to = {.sin_family = AF_INET};
  char bytes[64] = {0};
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  if (s < 0 || argc < 3) return 2;
  to.sin_port = htons(atoi(argv[2]));
  if (strcmp(argv[1], "sink") == 0) {
    if (bind(s, (struct sockaddr *)&to, sizeof to) < 0) return 1;
    for (;;) pause();
  }
  if (argc < 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) return 2;
  double began = now(), end = began + atof(argv[3]) * 1e9, at = began;
  long sent = 0;
  while (at < end) {
    for (int i = 0; i < 200; i++)
      if (sendto(s, bytes, sizeof bytes, 0, (struct sockaddr *)&to, sizeof to) > 0) sent++;
    at = now();
  }
  if (sent == 0) return 1;
  printf("%.1f\n", (at - began) / sent);
  return 0;
}
