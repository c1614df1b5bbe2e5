public import Fault

/// Why nothing was published.
public enum PublishingFaultCode: String, FaultCode {
    /// The build's directory is not complete, or does not match its description.
    case badBuild = "bad-build"
    /// This very version is published already.
    case alreadyPublished = "already-published"
    /// The release's conditions contradict each other or what is published.
    case badRequest = "bad-request"
    /// There is no repository, or one where none should be.
    case badRepository = "bad-repository"
    /// A signing key is missing, or is not the one that the repository's root names.
    case key
    /// A file could not be read or written.
    case file
    /// Another process changes the repository at the moment.
    case busy
    /// Whoever asked for it took that back before anything was published.
    case interrupted
}

/// A failure of publishing.
public typealias PublishingFault = Fault<PublishingFaultCode>
