<?php
namespace Opencart\Admin\Controller\Extension\Clew\Module;
/**
 * Settings of the clew module: the address and the secret of [sites.webhooks.opencart].
 */
class Clew extends \Opencart\System\Engine\Controller {
	public function index(): void {
		$this->load->language('extension/clew/module/clew');
		$this->document->setTitle($this->language->get('heading_title'));
		$token = 'user_token=' . $this->session->data['user_token'];
		$data = [
			'save' => $this->url->link('extension/clew/module/clew.save', $token),
			'back' => $this->url->link('marketplace/extension', $token . '&type=module'),
			'module_clew_url' => $this->config->get('module_clew_url'),
			'module_clew_secret' => $this->config->get('module_clew_secret'),
			'header' => $this->load->controller('common/header'),
			'column_left' => $this->load->controller('common/column_left'),
			'footer' => $this->load->controller('common/footer'),
		];
		$this->response->setOutput($this->load->view('extension/clew/module/clew', $data));
	}

	public function save(): void {
		$this->load->language('extension/clew/module/clew');
		$this->response->addHeader('Content-Type: application/json');
		if (!$this->user->hasPermission('modify', 'extension/clew/module/clew')) {
			$this->response->setOutput(json_encode(['error' => $this->language->get('error_permission')]));
			return;
		}
		$this->load->model('setting/setting');
		$this->model_setting_setting->editSetting('module_clew', [
			'module_clew_status' => 1,
			'module_clew_url' => (string)$this->request->post['module_clew_url'],
			'module_clew_secret' => (string)$this->request->post['module_clew_secret'],
		]);
		$this->response->setOutput(json_encode(['success' => $this->language->get('text_success')]));
	}

	public function install(): void {
		$this->db->query("CREATE TABLE IF NOT EXISTS `" . DB_PREFIX . "clew_order` (`order_id` int NOT NULL PRIMARY KEY, `token` varchar(200) NOT NULL)");
		$this->load->model('setting/event');
		foreach (['keep' => 'addOrder', 'report' => 'addHistory'] as $action => $method) {
			$this->model_setting_event->addEvent(['code' => "clew_$action", 'description' => 'clew', 'status' => 1, 'sort_order' => 0,
				'trigger' => "catalog/model/checkout/order.$method/after", 'action' => "extension/clew/clew.$action"]);
		}
	}

	public function uninstall(): void {
		$this->load->model('setting/event');
		$this->model_setting_event->deleteEventByCode('clew_keep');
		$this->model_setting_event->deleteEventByCode('clew_report');
		$this->db->query("DROP TABLE IF EXISTS `" . DB_PREFIX . "clew_order`");
	}
}
