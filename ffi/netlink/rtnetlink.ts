/**
 * The numbers that all messages of rtnetlink share.
 *
 * @module
 */

/** `RTM_*`, linux/rtnetlink.h. */
export const Rtm = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  SETLINK: 19,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
} as const;

/** `AF_*`, linux/socket.h. */
export const Af = { INET: 2, BRIDGE: 7, INET6: 10 } as const;
