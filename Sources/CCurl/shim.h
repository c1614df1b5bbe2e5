#pragma once
#include <curl/curl.h>

// curl_easy_setopt and curl_easy_getinfo are variadic, which Swift cannot call: one typed entry a kind of argument.
static inline CURLcode ballast_curl_set_long(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode ballast_curl_set_offset(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode ballast_curl_set_string(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode ballast_curl_set_pointer(CURL *handle, CURLoption option, void *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode ballast_curl_set_list(CURL *handle, CURLoption option, struct curl_slist *value) {
    return curl_easy_setopt(handle, option, value);
}
typedef size_t (*ballast_curl_data_callback)(char *data, size_t size, size_t count, void *context);
static inline CURLcode ballast_curl_set_data_callback(
    CURL *handle, CURLoption option, ballast_curl_data_callback callback) {
    return curl_easy_setopt(handle, option, callback);
}
typedef int (*ballast_curl_progress_callback)(
    void *context, curl_off_t download_total, curl_off_t downloaded, curl_off_t upload_total, curl_off_t uploaded);
static inline CURLcode ballast_curl_set_progress_callback(CURL *handle, ballast_curl_progress_callback callback) {
    return curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, callback);
}
static inline CURLcode ballast_curl_get_long(CURL *handle, CURLINFO info, long *value) {
    return curl_easy_getinfo(handle, info, value);
}
static inline CURLcode ballast_curl_get_offset(CURL *handle, CURLINFO info, curl_off_t *value) {
    return curl_easy_getinfo(handle, info, value);
}
static inline int ballast_curl_limit_socket(void *bytes, curl_socket_t connection, curlsocktype purpose) {
    int value = (int)(long)bytes;
    (void)purpose;
    // Where the kernel gives less, it is less.
    (void)setsockopt(connection, SOL_SOCKET, SO_RCVBUF, &value, sizeof value);
    return CURL_SOCKOPT_OK;
}
static inline CURLcode ballast_curl_set_receive_buffer(CURL *handle, long bytes) {
    CURLcode result = curl_easy_setopt(handle, CURLOPT_SOCKOPTDATA, (void *)bytes);
    return result ? result : curl_easy_setopt(handle, CURLOPT_SOCKOPTFUNCTION, ballast_curl_limit_socket);
}
// curl copies the bytes.
static inline CURLcode ballast_curl_set_blob(CURL *handle, CURLoption option, const void *bytes, size_t count) {
    struct curl_blob blob = {(void *)bytes, count, CURL_BLOB_COPY};
    return curl_easy_setopt(handle, option, &blob);
}
static inline CURLcode ballast_curl_get_string(CURL *handle, CURLINFO info, const char **value) {
    return curl_easy_getinfo(handle, info, value);
}
