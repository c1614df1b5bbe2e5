public import Fault

/// Why the agent did not do what it was asked for. The raw values are part of the control protocol.
public enum UpdateAgentFaultCode: String, FaultCode {
    /// Another job runs; the message names it.
    case busy
    /// The version is denied on this host, or the host goes back to another one.
    case denied
    /// The host is pinned to another version.
    case pinned
    /// A restart is held back; the message names the step.
    case held
    /// There is no such version, slot or file.
    case notFound = "not-found"
    /// The repository's signatures or digests do not hold.
    case untrusted
    /// The repository's metadata has expired.
    case expired
    /// The repository offers older metadata than this host has already seen.
    case rolledBack = "rolled-back"
    /// Something could not be fetched; the next attempt goes on where this one ended.
    case transfer
    /// What was fetched or written is not what the release names.
    case mismatch
    /// The image or its kernel does not fit.
    case noSpace = "no-space"
    /// The other slot holds nothing that was good here.
    case nothingGood = "nothing-good"
    /// The caller may not do this.
    case notPermitted = "not-permitted"
    /// A version, setting or file is not valid.
    case invalid
    /// The image names no repository, or no root metadata to trust.
    case unconfigured
    /// A newer agent, or another version first, is needed.
    case unsupported
    /// The host's disk or boot entries are not what an image makes, or cannot be read or written.
    case storage
    /// The agent's own state cannot be read or kept.
    case state
    /// The host could not be asked to do something, such as to reboot.
    case system
}

/// A failure of the update agent.
public typealias UpdateAgentFault = Fault<UpdateAgentFaultCode>
