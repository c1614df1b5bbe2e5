public import SystemPackage

extension Manifest {
    /// Reads the manifest at `path` and all that it includes.
    ///
    /// - Throws: every problem of all files at once, a line each.
    public static func load(_ path: FilePath) throws(ManifestFault) -> Manifest {
        throw ManifestFault(.notFound, "manifests are not read yet", at: .path(path.string))
    }
}
