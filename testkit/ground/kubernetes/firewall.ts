import {
  addressesOf,
  apiPort,
  egressProxy,
  entrypointPort,
  entrypoints,
  type ClusterPlan,
} from './topology.ts';

/** The rules for `nft -f` in the namespace of a node. */
export function firewallRules(plan: ClusterPlan): string {
  return [translation(plan), ...(plan.egress === 'open' ? [] : [closed(plan)])].join('\n');
}

/** Pods leave with the node's address. The hub's API entrypoint leads to kube-apiserver. */
function translation(plan: ClusterPlan): string {
  const { podRange } = addressesOf(plan);
  const { address } = entrypoints.api;
  const redirect = `ip daddr ${address} tcp dport ${entrypointPort} redirect to :${apiPort}`;
  return `
table ip ground {
  chain leaving {
    type nat hook postrouting priority srcnat;
    ip saddr ${podRange} oifname "eth0" masquerade
  }
  ${
    plan.name !== 'hub'
      ? ''
      : `
  chain arriving {
    type nat hook prerouting priority dstnat;
    ${redirect}
  }
  chain local {
    type nat hook output priority -100;
    ${redirect}
  }`
  }
}`;
}

/**
 * Lets no connection in, and lets out only what the plan allows. Refused connections are rejected,
 * so that a test sees the refusal at once, and they are counted.
 */
function closed(plan: ClusterPlan): string {
  const hub = Object.values(entrypoints).map(({ address }) => address);
  const allowed =
    plan.egress === 'proxy'
      ? `ip daddr ${egressProxy.address} tcp dport ${egressProxy.port} accept`
      : `ip daddr { ${hub.join(', ')} } tcp dport ${entrypointPort} accept`;
  return `
table inet firewall {
  counter refused-in {}
  counter refused-out {}
  chain let-in {
    ct state established,related accept
    counter name refused-in drop
  }
  chain let-out {
    ct state established,related accept
    ${allowed}
    counter name refused-out reject with icmpx admin-prohibited
  }
  chain input {
    type filter hook input priority filter - 10; policy accept;
    iifname "eth0" jump let-in
  }
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    iifname "eth0" jump let-in
    oifname "eth0" jump let-out
  }
  chain output {
    type filter hook output priority filter - 10; policy accept;
    oifname "eth0" jump let-out
  }
}`;
}
